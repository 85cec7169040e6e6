"""Interface of executors: slots in which stages run, and signals that come back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backbench.model import Stage, StageKind


@dataclass(frozen=True, slots=True)
class Setup:
    """Settings of every executor.

    Args:
        store: Folder of the store; every worker must reach it.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:0``.
        jobs: Number of stages at a time; ``None`` lets the executor choose.
        stage_timeout_s: Seconds after which a stage is ended; ``None``: never.
        stage_memory_gib: Memory of a stage's processes, less what is shared, at which it is ended;
            ``None``: no limit.
    """

    store: Path
    device: str = "auto"
    jobs: int | None = None
    stage_timeout_s: float | None = None
    stage_memory_gib: float | None = None


@dataclass(frozen=True, slots=True)
class Progressed:
    """A stage is under way."""

    key: str
    done: int
    total: int
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """A stage is over.

    Args:
        key: Its key.
        reason: Empty if its record is in the store; else one sentence.
        details: The traceback, where there is one.
        usage: Whether the user's input is wrong, as an unreadable image is.
        full: Whether a disk is full, so that no other stage need be begun.
        lost: Whether a signal killed a process of the stage: it is tried once more.
        node_lost: Whether the machine of the stage was lost, whatever the stage does: it is
            tried again, five times at most.
        log: The last lines that the stage has printed.
        stopped: Whether it has a new checkpoint and was stopped there, as before a time limit: it
            is begun again, as often as it takes.
    """

    key: str
    reason: str = ""
    details: str = ""
    usage: bool = False
    full: bool = False
    lost: bool = False
    node_lost: bool = False
    log: str = ""
    stopped: bool = False


#: A message of an executor to the scheduler.
Signal = Progressed | Finished


def devices_of(stage: Stage) -> int:
    """Return the number of devices that a stage requests."""
    if stage.kind != StageKind.PRETRAIN or stage.plugin is None:
        return 1
    return int(stage.plugin.options.get("devices", 1))


class Executor(ABC):
    """Runs stages whose inputs are in the store.

    Example::

        # my_plugin/thread.py
        from concurrent.futures import ThreadPoolExecutor
        from queue import SimpleQueue

        from backbench.execution.serial import run_guarded
        from backbench.plugin import Executor, Progressed
        from backbench.plugin.registry import load_registry
        from backbench.store.store import Store

        class ThreadExecutor(Executor):
            def __init__(self, options, setup):
                super().__init__(options, setup)
                self.store, self.registry = Store(setup.store), load_registry()
                self.pool, self.signals = ThreadPoolExecutor(1), SimpleQueue()

            @property
            def slots(self):
                return 1

            def submit(self, stage):
                self.pool.submit(self._run, stage)

            def wait(self):
                return self.signals.get()

            def close(self):
                self.pool.shutdown(cancel_futures=True)

            def _run(self, stage):
                def progress(done, total, values):
                    self.signals.put(Progressed(stage.key, done, total, values))

                # Runs the stage; returns Finished, also if the stage raises.
                ended = run_guarded(stage, self.store, self.registry, "cpu", progress)
                self.signals.put(ended)
    """

    def __init__(self, options: Any, setup: Setup) -> None:
        self.options = options
        self.setup = setup

    @property
    @abstractmethod
    def slots(self) -> int:
        """Number of stages that can run at the same time, if each requests one device."""

    def width(self, stage: Stage) -> int:
        """Return how many slots a stage takes: one a device, as far as there are slots."""
        return min(devices_of(stage), self.slots)

    def admit(self, stages: Iterable[Stage]) -> None:  # noqa: B027 - most can run anything
        """Refuse stages that can never run here, before any is begun.

        Raises:
            UsageError: Saying which, and why.
        """

    @abstractmethod
    def submit(self, stage: Stage) -> None:
        """Begin a stage; called only while at least :meth:`width` slots are free."""

    @abstractmethod
    def wait(self) -> Signal:
        """Block until a running stage has something to report.

        A stage ends with exactly one :class:`Finished`, also if its worker dies.
        """

    def close(self) -> None:  # noqa: B027 - an executor without processes has nothing to stop
        """Stop everything that is still running; what it has not published is dropped."""
