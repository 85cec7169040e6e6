"""Worker processes on this machine: one a GPU, or as many as there are cores.

Each worker has cores of its own and computes with one thread, as every stage does
(see ``docs/explanation/design.md``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_readable
from typing import Any, Final

from backbench.errors import UsageError
from backbench.execution.admission import admit_devices
from backbench.execution.worker_process import LOOK_S, WorkerProcess, close_all
from backbench.model import Stage, StageKind
from backbench.plugin.executor import Executor, Finished, Setup, Signal, devices_of
from backbench.store.store import Store
from backbench.system import cores, files
from backbench.training.devices import Device, may_have_gpu

#: Processes of one run; more only fill the memory.
_MOST_WORKERS: Final = 4096


@dataclass(slots=True)
class _Taken:
    """Slots of a stage that runs: of its worker, and those that are lent to it."""

    worker: WorkerProcess
    slot: int
    lent: list[int]


class LocalExecutor(Executor):
    """Runs stages in worker processes that live as long as the run.

    Attributes:
        workers: The device of each worker, and its cores.
    """

    def __init__(self, options: Any, setup: Setup) -> None:
        super().__init__(options, setup)
        files.occupy_standard_descriptors()  # no pipe to a worker gets their number
        names = device_names(setup.device)
        self._gpus = [name for name in names if name != "cpu"]
        usable, count = cores.usable_cores(), cores.core_count()
        slots = (len(self._gpus) or count) if setup.jobs is None else setup.jobs
        if slots < 1:
            raise UsageError(f"--jobs {slots}: at least one stage must run at a time")
        if slots > _MOST_WORKERS:
            raise UsageError(f"--jobs {slots}: {_MOST_WORKERS} processes at most run on a machine")
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
        self._store = Store(setup.store)
        self._idle: dict[int, WorkerProcess] = {}
        self._busy: list[_Taken] = []
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
        taken = {slot for one in self._busy for slot in (one.slot, *one.lent)}
        free = [slot for slot in range(self.slots) if slot not in taken]
        free.sort(key=lambda slot: slot not in self._idle)  # running workers come first
        slot, *lent = free[: self.width(stage)]
        try:
            worker = self._idle.pop(slot, None) or self._start(slot)
        except OSError as error:
            reason = f"{error.filename or 'a worker'}: cannot be opened ({error.strerror})"
            self._unstarted.append(Finished(stage.key, reason, full=files.is_full(error)))
            return
        self._busy.append(_Taken(worker, slot, lent))
        worker.submit(stage, self.lent_devices(stage, [slot, *lent]))

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
            for taken in self._busy:
                if (found := taken.worker.signal()) is not None:
                    if isinstance(found, Finished):
                        self._release(taken)
                    return found
            workers = [taken.worker for taken in self._busy]
            for pipe in wait_readable([worker.pipe for worker in workers], LOOK_S):
                next(worker for worker in workers if worker.pipe == pipe).read()
            for worker in workers:
                worker.look()
        return self._unstarted.pop(0)

    def close(self) -> None:
        """End all workers."""
        workers = [*self._idle.values(), *(taken.worker for taken in self._busy)]
        self._idle, self._busy = {}, []
        close_all(workers)

    def _release(self, taken: _Taken) -> None:
        self._busy.remove(taken)
        if taken.worker.alive:
            self._idle[taken.slot] = taken.worker
        else:
            close_all([taken.worker])

    def _start(self, slot: int) -> WorkerProcess:
        return WorkerProcess(self.setup, self.workers[slot], self._store.log(f"worker-{slot}"))


def device_names(name: str) -> list[str]:
    """Return the torch devices to use; import torch only if there may be a GPU."""
    if name == "cpu" or (name == "auto" and not may_have_gpu()):
        return ["cpu"]
    from backbench.training.device import resolve_device

    resolved = resolve_device(name)
    if name in {"auto", "cuda"} and resolved.startswith("cuda"):
        import torch

        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [resolved]
