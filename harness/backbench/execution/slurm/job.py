"""A stage in a job of the cluster: it writes its signals, as lines of JSON, into a file."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backbench.execution.local import device_names
from backbench.execution.messages import decode_order, encode_signal
from backbench.execution.serial import limited, run_guarded
from backbench.plugin.executor import Finished, Progressed
from backbench.plugin.registry import load_registry
from backbench.store.store import Store
from backbench.system import stopping


@dataclass(frozen=True, slots=True)
class StageJob:
    """Work of a job: a stage.

    Args:
        order: The stage, as a line of JSON.
        store: Folder of the store.
        signals: File that takes its signals; that of an earlier try is continued.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:0``.
        stage_timeout_s: Seconds after which the stage is ended, if any.
    """

    order: str
    store: Path
    signals: Path
    device: str
    stage_timeout_s: float | None

    def __call__(self) -> None:
        """Run the stage.

        Raises:
            SystemExit: With code 1 if it failed or was stopped, so that the queue shows it.
        """
        faulthandler.enable()
        # before the time limit, and when the job is preempted, cancelled or requeued
        stopping.request_at(signal.SIGUSR2, signal.SIGTERM)
        stage, _ = decode_order(self.order)
        store, registry = Store(self.store), load_registry()
        with self.signals.open("a", encoding="utf-8", buffering=1) as out:

            def progress(done: int, total: int, values: Mapping[str, float]) -> None:
                shown = {name: float(value) for name, value in values.items()}
                out.write(encode_signal(Progressed(stage.key, int(done), int(total), shown)))

            if store.record(stage.key) is None:  # else an earlier try has made it
                with limited(self.stage_timeout_s):
                    device = device_names(self.device)[0]
                    ended = run_guarded(stage, store, registry, device, progress)
            else:
                ended = Finished(stage.key)
            out.write(encode_signal(ended))
            out.flush()
            os.fsync(out.fileno())  # a network drive shows it to the driver then
        if ended.reason:
            raise SystemExit(1)
