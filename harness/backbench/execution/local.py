"""Worker processes on this machine: one a GPU, or as many as there are cores.

Each worker has its own cores and no more threads than cores, so that nothing is oversubscribed:
two threads that wait for each other on a core that a neighbour uses are ten times slower than
one (see ``docs/explanation/design.md``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.connection import wait as wait_readable
from pathlib import Path
from typing import Any

from backbench.errors import UsageError
from backbench.execution.executor import Executor, Finished, Setup, Signal
from backbench.execution.worker import decode_signal, encode_stage
from backbench.model import Stage
from backbench.store import Store

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

#: glibc gives memory back after every large temporary by default; keeping it saves page faults.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(4 * 2**30)}

#: Seconds that a worker gets to end by itself.
_GRACE_S = 2.0


@dataclass(slots=True)
class _Worker:
    name: str
    process: subprocess.Popen[bytes]
    to_worker: int
    from_worker: int
    buffer: bytes = b""
    stage: Stage | None = None
    signals: list[Signal] = field(default_factory=list)


class LocalExecutor(Executor):
    """Runs stages in worker processes that live as long as the run.

    Args:
        options: None are needed.
        setup: See :class:`backbench.execution.Setup`.
    """

    def __init__(self, options: Any, setup: Setup) -> None:
        super().__init__(options, setup)
        self._devices = _devices(setup.device)
        self._cores = _cores()
        gpus = [device for device in self._devices if device != "cpu"]
        fitting = len(gpus) or len(self._cores)
        self._slots = fitting if setup.jobs is None else setup.jobs
        if self._slots < 1:
            raise UsageError(f"--jobs {self._slots}: at least one stage must run at a time")
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._made = 0

    @property
    def slots(self) -> int:
        """Number of workers."""
        return self._slots

    def submit(self, stage: Stage) -> None:
        """Give the stage to an idle worker, or to a new one."""
        worker = self._idle.pop() if self._idle else self._start()
        worker.stage = stage
        self._busy.append(worker)
        with contextlib.suppress(BrokenPipeError):  # it has died; waiting will tell how
            os.write(worker.to_worker, encode_stage(stage).encode())

    def wait(self) -> Signal:
        """Give the next signal of any worker."""
        while True:
            for worker in self._busy:
                if worker.signals:
                    found = worker.signals.pop(0)
                    if isinstance(found, Finished):
                        self._release(worker)
                    return found
            for descriptor in wait_readable([worker.from_worker for worker in self._busy]):
                worker = next(one for one in self._busy if one.from_worker == descriptor)
                self._read(worker)

    def close(self) -> None:
        """End all workers."""
        workers = self._idle + self._busy
        self._idle, self._busy = [], []
        for worker in workers:
            os.close(worker.to_worker)  # the worker ends itself on that
        deadline = time.monotonic() + _GRACE_S
        for worker in workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            os.close(worker.from_worker)

    def _release(self, worker: _Worker) -> None:
        self._busy.remove(worker)
        worker.stage = None
        if worker.process.poll() is None:
            self._idle.append(worker)
        else:
            os.close(worker.to_worker)
            os.close(worker.from_worker)

    def _read(self, worker: _Worker) -> None:
        chunk = os.read(worker.from_worker, 1 << 16)
        if not chunk:
            assert worker.stage is not None  # noqa: S101 - a busy worker has a stage
            log = Store(self.setup.store).log(worker.name)
            worker.signals.append(
                Finished(worker.stage.key, f"{_death(worker.process.wait())}; see {log}")
            )
            return
        *lines, worker.buffer = (worker.buffer + chunk).split(b"\n")
        worker.signals += [decode_signal(line.decode()) for line in lines]

    def _start(self) -> _Worker:
        slot = self._free_slot()
        name = f"worker-{slot}"
        device = self._devices[slot % len(self._devices)]
        threads = max(1, len(self._cores) // self._slots)
        first = slot * threads
        cores = self._cores[first : first + threads] if self._slots <= len(self._cores) else []
        child_in, to_worker = os.pipe()
        from_worker, child_out = os.pipe()
        environment = dict.fromkeys(_THREAD_VARIABLES, str(threads)) | _MALLOC
        log = Store(self.setup.store).log(name)
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own module, our own arguments
                [
                    sys.executable,
                    "-P",  # what lies in the user's folder is not importable, as for the command
                    "-m",
                    "backbench.execution.worker",
                    str(child_in),
                    str(child_out),
                    str(self.setup.store),
                    device,
                    ",".join(str(core) for core in cores),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(child_in, child_out),
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for the parent; it closes the pipe
            )
        os.close(child_in)
        os.close(child_out)
        return _Worker(name, process, to_worker, from_worker)

    def _free_slot(self) -> int:
        taken = {worker.name for worker in self._idle + self._busy}
        return next(slot for slot in range(self._slots) if f"worker-{slot}" not in taken)


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _devices(name: str) -> list[str]:
    """Return the torch devices to use; torch is imported only where there may be a GPU."""
    if name == "cpu" or (name == "auto" and not _may_have_gpu()):
        return ["cpu"]
    from backbench.runtime.device import resolve_device

    resolved = resolve_device(name)
    if name in {"auto", "cuda"} and resolved.startswith("cuda"):
        import torch

        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [resolved]


def _may_have_gpu() -> bool:
    return sys.platform == "darwin" or any(
        Path(path).exists() for path in ("/dev/nvidiactl", "/dev/kfd", "/proc/driver/nvidia")
    )


def _death(code: int) -> str:
    if code < 0:
        return f"the worker was killed by {signal.Signals(-code).name}"
    return f"the worker ended with exit code {code}"
