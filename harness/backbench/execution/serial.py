"""One stage at a time, in this process: for debugging, and for small things."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from backbench.errors import (
    BackbenchError,
    LostProcessError,
    ResultError,
    StageError,
    StoppedError,
    UsageError,
    printable,
    shortened,
)
from backbench.execution.admission import admit_devices
from backbench.model import Stage
from backbench.plugin.calling import isolated, sentence_of
from backbench.plugin.executor import Executor, Finished, Progressed, Setup, Signal
from backbench.plugin.infos import KINDS
from backbench.plugin.registry import Registry, load_registry
from backbench.stages.run import run_stage
from backbench.store.store import Store
from backbench.system.files import is_full
from backbench.system.interrupts import is_users
from backbench.system.memory import keep_memory
from backbench.training.devices import Device


class SerialExecutor(Executor):
    """Runs each stage when it is waited for, one at a time."""

    def __init__(self, options: Any, setup: Setup) -> None:
        super().__init__(options, setup)
        from backbench.training.device import resolve_device

        self._device = resolve_device(setup.device)
        self._registry = load_registry()
        self._store = Store(setup.store)
        self._waiting: deque[Stage] = deque()
        self._signals: deque[Signal] = deque()

    @property
    def slots(self) -> int:
        """One."""
        return 1

    def admit(self, stages: Iterable[Stage]) -> None:
        """Refuse stages that can never run on the devices of this machine."""
        gpus = 0
        if self._device != "cpu":
            import torch

            gpus = torch.cuda.device_count()
        admit_devices(stages, gpus)
        if self.setup.stage_memory_gib is not None:
            raise UsageError("benchmark.stage_memory_gib: needs worker processes: --executor local")

    def submit(self, stage: Stage) -> None:
        """Remember the stage until it is waited for."""
        self._waiting.append(stage)

    def wait(self) -> Signal:
        """Run the stage, then give its signals one by one."""
        if not self._signals:
            stage = self._waiting.popleft()

            def progress(done: int, total: int, values: Mapping[str, float]) -> None:
                self._signals.append(Progressed(stage.key, done, total, dict(values)))

            with limited(self.setup.stage_timeout_s):
                ended = run_guarded(stage, self._store, self._registry, self._device, progress)
            self._signals.append(ended)
        return self._signals.popleft()


@contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """Raise a StageError in what takes longer, as soon as Python code runs there.

    In the main thread only: Python hears signals nowhere else.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise StageError(f"it took longer than {seconds:g} s (benchmark.stage_timeout_s)")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_guarded(
    stage: Stage,
    store: Store,
    registry: Registry,
    device: str,
    progress: Any,
    *,
    others: Sequence[Device] = (),
) -> Finished:
    """Run a stage; turn whatever goes wrong into one sentence and a traceback."""
    keep_memory()
    try:
        with isolated():
            run_stage(stage, store, registry, device, progress, others=others)
    except BaseException as error:
        if is_users(error):
            raise
        ours = isinstance(error, BackbenchError)
        reason = str(error) if ours else printable(sentence_of(error))
        if not ours or isinstance(error, ResultError):
            reason += _owner(stage, registry)
        details = shortened(traceback.format_exc())
        if (full := is_full(error)) and not ours:
            path = getattr(error, "filename", None)
            path = path if isinstance(path, str | os.PathLike) else store.root
            reason = f"{path}: the disk is full: make room and run again"
        usage = isinstance(error, UsageError)
        return Finished(
            stage.key,
            shortened(reason),
            details,
            usage,
            full,
            lost=isinstance(error, LostProcessError),
            stopped=isinstance(error, StoppedError),
        )
    return Finished(stage.key)


def _owner(stage: Stage, registry: Registry) -> str:
    """Name the plugins whose stage it is, where there are some."""
    uses = (use for use in stage.uses if use.kind in KINDS)
    return "".join(f" ({registry.find(use.kind, use.name)})" for use in uses)
