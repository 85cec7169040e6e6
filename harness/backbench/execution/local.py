"""Worker processes on this machine: one a GPU, or as many as there are cores.

Each worker has cores of its own and computes with one thread, as every stage does
(see ``docs/explanation/design.md``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import wait as wait_readable
from pathlib import Path
from typing import Any

from backbench.errors import UsageError
from backbench.execution.admission import admit_devices
from backbench.execution.worker import decode_signal, encode_order
from backbench.model import Stage, StageKind
from backbench.plugin.executor import Executor, Finished, Setup, Signal, devices_of
from backbench.store.store import Store
from backbench.system import cores, files
from backbench.system.children import end_all, start_module
from backbench.training.devices import Device

#: Seconds that a worker gets to end by itself.
_GRACE_S = 2.0


@dataclass(slots=True)
class _Worker:
    slot: int
    log: Path
    process: subprocess.Popen[bytes]
    to_worker: int
    from_worker: int
    buffer: bytes = b""
    stage: Stage | None = None
    lent: list[int] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)


class LocalExecutor(Executor):
    """Runs stages in worker processes that live as long as the run.

    Attributes:
        workers: The device of each worker, and its cores.
    """

    def __init__(self, options: Any, setup: Setup) -> None:
        super().__init__(options, setup)
        files.occupy_standard_descriptors()  # no pipe to a worker gets their number
        names = _device_names(setup.device)
        self._gpus = [name for name in names if name != "cpu"]
        usable, count = cores.usable_cores(), cores.core_count()
        slots = (len(self._gpus) or count) if setup.jobs is None else setup.jobs
        if slots < 1:
            raise UsageError(f"--jobs {slots}: at least one stage must run at a time")
        each = max(1, count // slots)
        # No worker has cores of its own if there are more workers than cores, or if a quota holds:
        # then other containers share the cores, and the first cores are no better than the others.
        if slots > len(usable) or count < len(usable):
            usable = []
        self.workers = [
            Device(
                names[slot % len(names)],
                tuple(usable[slot * each : (slot + 1) * each]),
            )
            for slot in range(slots)
        ]
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    @property
    def slots(self) -> int:
        """Number of workers."""
        return len(self.workers)

    def admit(self, stages: Iterable[Stage]) -> None:
        """Refuse stages that can never run on the devices of this machine."""
        admit_devices(stages, len(self._gpus))

    def submit(self, stage: Stage) -> None:
        """Give the stage to an idle worker, or to a new one.

        A stage that asks for several devices takes as many slots, if there are so many; workers
        that are idle in them stay idle.
        """
        taken = {slot for worker in self._busy for slot in (worker.slot, *worker.lent)}
        idle = {worker.slot: worker for worker in reversed(self._idle)}
        free = [slot for slot in range(self.slots) if slot not in taken]
        free.sort(key=lambda slot: slot not in idle)  # running workers come first
        slot, *lent = free[: self.width(stage)]
        worker = idle.get(slot) or self._start(slot)
        if slot in idle:
            self._idle.remove(worker)
        worker.stage, worker.lent = stage, lent
        self._busy.append(worker)
        line = encode_order(stage, self.lent_devices(stage, [slot, *lent]))
        with contextlib.suppress(BrokenPipeError):  # it has died; waiting reports how
            os.write(worker.to_worker, line.encode())

    def lent_devices(self, stage: Stage, slots: list[int]) -> list[Device]:
        """Return where a stage's further processes run; those that decode run on all cores."""
        count = devices_of(stage)
        if stage.kind == StageKind.DATASET:
            slots = [*slots, *(one for one in range(self.slots) if one not in slots)]
            count = len(slots)
        return self.rank_devices(slots, count)[1:]

    def rank_devices(self, slots: list[int], count: int) -> list[Device]:
        """Return where the processes of one stage run: in its slots, each on a GPU of its own."""
        workers = [self.workers[slot] for slot in slots]
        names = [worker.device for worker in workers]
        if self._gpus:
            names = list(dict.fromkeys([*names, *self._gpus]))
        return [
            Device(names[rank % len(names)], workers[rank % len(workers)].cores)
            for rank in range(count)
        ]

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
        end_all([worker.process for worker in workers], _GRACE_S)
        for worker in workers:
            os.close(worker.from_worker)

    def _release(self, worker: _Worker) -> None:
        self._busy.remove(worker)
        worker.stage, worker.lent = None, []
        if worker.process.poll() is None:
            self._idle.append(worker)
        else:
            os.close(worker.to_worker)
            os.close(worker.from_worker)

    def _read(self, worker: _Worker) -> None:
        chunk = os.read(worker.from_worker, 1 << 16)
        if not chunk:
            assert worker.stage is not None  # noqa: S101 - a busy worker has a stage
            reason = f"{_death(worker.process.wait())}; see {worker.log}"
            worker.signals.append(Finished(worker.stage.key, reason))
            return
        *lines, worker.buffer = (worker.buffer + chunk).split(b"\n")
        worker.signals += [decode_signal(line.decode()) for line in lines]

    def _start(self, slot: int) -> _Worker:
        child_in, to_worker = os.pipe()
        from_worker, child_out = os.pipe()
        device = self.workers[slot]
        log = Store(self.setup.store).log(f"worker-{slot}")
        with log.open("ab") as output:
            process = start_module(
                "backbench.execution.worker",
                str(child_in),
                str(child_out),
                str(self.setup.store),
                device.device,
                ",".join(map(str, device.cores)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(child_in, child_out),
            )
        os.close(child_in)
        os.close(child_out)
        return _Worker(slot, log, process, to_worker, from_worker)


def _device_names(name: str) -> list[str]:
    """Return the torch devices to use; import torch only if there may be a GPU."""
    if name == "cpu" or (name == "auto" and not may_have_gpu()):
        return ["cpu"]
    from backbench.training.device import resolve_device

    resolved = resolve_device(name)
    if name in {"auto", "cuda"} and resolved.startswith("cuda"):
        import torch

        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [resolved]


def may_have_gpu() -> bool:
    """Say whether torch is worth asking for a GPU."""
    return sys.platform == "darwin" or any(
        Path(path).exists() for path in ("/dev/nvidiactl", "/dev/kfd", "/proc/driver/nvidia")
    )


def _death(code: int) -> str:
    if code < 0:
        return f"the worker was killed by {signal.Signals(-code).name}"
    return f"the worker ended with exit code {code}"
