"""One stage at a time, in this process: for debugging, and for small things."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from backbench.errors import BackbenchError, ResultError, UsageError
from backbench.execution.admission import admit_devices
from backbench.model import Stage
from backbench.plugin.calling import sentence_of
from backbench.plugin.executor import Executor, Finished, Progressed, Setup, Signal
from backbench.plugin.infos import KINDS
from backbench.plugin.registry import Registry, load_registry
from backbench.stages.run import run_stage
from backbench.store.store import Store
from backbench.system.files import is_full
from backbench.system.memory import keep_memory
from backbench.system.streams import stdout_to_stderr
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

    def submit(self, stage: Stage) -> None:
        """Remember the stage until it is waited for."""
        self._waiting.append(stage)

    def wait(self) -> Signal:
        """Run the stage, then give its signals one by one."""
        if not self._signals:
            stage = self._waiting.popleft()

            def progress(done: int, total: int, values: Mapping[str, float]) -> None:
                self._signals.append(Progressed(stage.key, done, total, dict(values)))

            ended = run_guarded(stage, self._store, self._registry, self._device, progress)
            self._signals.append(ended)
        return self._signals.popleft()


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
        with stdout_to_stderr():
            run_stage(stage, store, registry, device, progress, others=others)
    except BackbenchError as error:
        usage = isinstance(error, UsageError)
        reason = str(error) + (_owner(stage, registry) if isinstance(error, ResultError) else "")
        return Finished(stage.key, reason, traceback.format_exc(), usage, is_full(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - plugins raise what they like
        if is_full(error):
            path = getattr(error, "filename", None) or store.root
            reason = f"{path}: the disk is full: make room and run again"
            return Finished(stage.key, reason, traceback.format_exc(), full=True)
        reason = sentence_of(error) + _owner(stage, registry)
        return Finished(stage.key, reason, traceback.format_exc())
    return Finished(stage.key)


def _owner(stage: Stage, registry: Registry) -> str:
    """Name the plugin whose stage it is, where there is one."""
    use = stage.plugin
    return f" ({registry.find(use.kind, use.name)})" if use and use.kind in KINDS else ""
