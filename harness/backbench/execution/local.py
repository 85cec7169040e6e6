"""Worker processes on this machine: one a GPU, or as many as there are cores.

Each worker has cores of its own and computes with one thread, as every stage does
(see ``docs/explanation/design.md``).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait as wait_readable
from pathlib import Path
from typing import Any

from backbench.errors import UsageError, printable
from backbench.execution.admission import admit_devices
from backbench.execution.messages import decode_signal, encode_order
from backbench.model import Stage, StageKind
from backbench.plugin.executor import Executor, Finished, Setup, Signal, devices_of
from backbench.store.store import Store
from backbench.system import cores, files
from backbench.system.children import end_all, how_ended, kill, start_module
from backbench.system.memory import tree_gib
from backbench.training.devices import Device, may_have_gpu

#: Seconds that a worker gets to end by itself, and between two looks at its limits.
_GRACE_S, _LOOK_S = 2.0, 1.0

#: Bytes of the longest signal, of a worker's log, and of its end in which a failure quotes lines.
_LONGEST, _LOG, _TAIL = 4 << 20, 16 << 20, 8 << 10

#: Lines that are quoted, and their characters; how Python begins to report a crash.
_LINES, _WIDTH, _CRASH = 15, 300, "Fatal Python error"


@dataclass(slots=True)
class _Worker:
    slot: int
    log: Path
    process: subprocess.Popen[bytes]
    to_worker: int
    from_worker: int
    buffer: bytearray = field(default_factory=bytearray)
    stage: Stage | None = None
    began: float = 0.0
    printed: int = 0
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
        self._store = Store(setup.store)
        self._busy: list[_Worker] = []
        self._unstarted: list[Signal] = []

    @property
    def slots(self) -> int:
        """Number of workers."""
        return len(self.workers)

    def admit(self, stages: Iterable[Stage]) -> None:
        """Refuse stages that can never run on the devices of this machine."""
        admit_devices(stages, len(self._gpus))

    def submit(self, stage: Stage) -> None:
        """Give the stage to an idle worker, or to a new one.

        A stage that requests several devices takes as many slots, if there are so many; workers
        that are idle in them stay idle.
        """
        taken = {slot for worker in self._busy for slot in (worker.slot, *worker.lent)}
        idle = {worker.slot: worker for worker in reversed(self._idle)}
        free = [slot for slot in range(self.slots) if slot not in taken]
        free.sort(key=lambda slot: slot not in idle)  # running workers come first
        slot, *lent = free[: self.width(stage)]
        try:
            worker = idle.get(slot) or self._start(slot)
        except OSError as error:
            reason = f"{error.filename or 'a worker'}: cannot be opened ({error.strerror})"
            self._unstarted.append(Finished(stage.key, reason, full=files.is_full(error)))
            return
        if slot in idle:
            self._idle.remove(worker)
        worker.stage, worker.lent, worker.began = stage, lent, time.monotonic()
        worker.printed = _size(worker.log)
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
        while not self._unstarted:
            for worker in self._busy:
                if worker.signals:
                    found = worker.signals.pop(0)
                    if isinstance(found, Finished):
                        found = replace(found, log=_last_lines(worker) if found.reason else "")
                        self._release(worker)
                    return found
            pipes = [worker.from_worker for worker in self._busy]
            for descriptor in wait_readable(pipes, _LOOK_S):
                worker = next(one for one in self._busy if one.from_worker == descriptor)
                self._read(worker)
            for worker in self._busy:
                self._look_at(worker)
        return self._unstarted.pop(0)

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
        """Take what a worker has sent; where it is gone, or sends no signals, its stage is over."""
        chunk = os.read(worker.from_worker, 1 << 16)
        if not chunk:
            try:
                code = worker.process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._over(worker, "it closed its worker's pipe")
            else:
                self._over(worker, f"the worker {how_ended(code)}", lost=code < 0)
            return
        worker.buffer += chunk
        if b"\n" not in chunk and len(worker.buffer) < _LONGEST:
            return
        *lines, worker.buffer = worker.buffer.split(b"\n")
        try:
            found = [decode_signal(line.decode()) for line in lines]
        except ValueError:
            found = None
        key = _key(worker)
        if found is None or len(worker.buffer) >= _LONGEST or any(one.key != key for one in found):
            self._over(worker, "something else than its worker wrote into its pipe")
            return
        for one in found:
            if isinstance(one, Finished) and not one.reason and self._store.record(one.key) is None:
                self._over(worker, "it ended without a record in the store")
            else:
                worker.signals.append(one)

    def _look_at(self, worker: _Worker) -> None:
        """Keep the log short, and end a stage that has reached a limit."""
        with contextlib.suppress(OSError):  # a full disk
            _shorten(worker.log)
        seconds, gib = self.setup.stage_timeout_s, self.setup.stage_memory_gib
        if worker.signals:
            return
        if seconds is not None and time.monotonic() - worker.began > seconds:
            self._over(worker, f"it took longer than {seconds:g} s (benchmark.stage_timeout_s)")
        elif gib is not None and (taken := tree_gib(worker.process.pid)) > gib:
            limit = f"more than {gib:g} GiB (benchmark.stage_memory_gib)"
            self._over(worker, f"it took {taken:.3g} GiB of memory, {limit}")

    def _over(self, worker: _Worker, reason: str, *, lost: bool = False) -> None:
        """End a worker, and its stage with it."""
        kill(worker.process)
        stage = worker.stage
        uses = stage.uses if stage is not None and stage.kind is not StageKind.IMPORT else ()
        whose = "".join(f" ({use.kind} {use.name!r} of {use.distribution})" for use in uses)
        reason = f"{reason}{whose}; see {worker.log}"
        worker.signals.append(Finished(_key(worker), reason, lost=lost))

    def _start(self, slot: int) -> _Worker:
        device, log = self.workers[slot], self._store.log(f"worker-{slot}")
        with log.open("ab") as output, contextlib.ExitStack() as undo:
            child_in, to_worker = os.pipe()
            from_worker, child_out = os.pipe()
            for descriptor in (to_worker, from_worker):
                undo.callback(os.close, descriptor)
            try:
                process = start_module(
                    "backbench.execution.worker",
                    str(os.getpid()),
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
            finally:
                os.close(child_in)
                os.close(child_out)
            undo.pop_all()
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


def _key(worker: _Worker) -> str:
    assert worker.stage is not None  # noqa: S101 - a busy worker has a stage
    return worker.stage.key


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _last_lines(worker: _Worker) -> str:
    """Return the last lines that the stage of a worker has printed."""
    size = _size(worker.log)
    with contextlib.suppress(OSError), worker.log.open("rb") as file:
        file.seek(max(size - _TAIL, worker.printed if worker.printed <= size else 0))
        lines = [line[:_WIDTH] for line in file.read().decode(errors="replace").splitlines()]
        crash = max((at for at, line in enumerate(lines) if line.startswith(_CRASH)), default=-1)
        return printable("\n".join(lines[crash:][:_LINES] if crash >= 0 else lines[-_LINES:]))
    return ""


def _shorten(log: Path) -> None:
    """Cut the middle out of a log that has become long; a worker appends to it meanwhile."""
    size = _size(log)
    if size <= _LOG:
        return
    with log.open("r+b") as file:
        file.seek(-_TAIL, os.SEEK_END)
        end = file.read()
        file.truncate(_LOG // 2)
        file.seek(0, os.SEEK_END)
        file.write(f"\n… {size - _LOG // 2 - len(end):,} bytes are left out …\n".encode() + end)
