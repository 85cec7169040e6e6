"""Run one stage: inputs from the store, artifact and record into it."""

from __future__ import annotations

import importlib
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from backbench import provenance
from backbench.model import Stage
from backbench.records import Record, describe
from backbench.registry import HOOKS, Registry
from backbench.runtime.places import Place
from backbench.stages.task import Outcome, Progress, Task
from backbench.store import Store, hash_files

#: The module of each kind of stage; imported when the first such stage runs.
_MODULES = {
    "dataset": "backbench.stages.dataset",
    "poison": "backbench.stages.poison",
    "pretrain": "backbench.stages.pretrain",
    "import": "backbench.stages.import_encoder",
    "sanitize": "backbench.stages.sanitize",
    "repair": "backbench.stages.repair",
    "features": "backbench.stages.features",
    "evaluate": "backbench.stages.evaluate",
}


def run_stage(
    stage: Stage,
    store: Store,
    registry: Registry,
    device: str,
    progress: Progress,
    *,
    others: Sequence[Place] = (),
) -> Record:
    """Run a stage and publish it.

    Args:
        stage: The stage; those that it reads are in the store.
        store: The store.
        registry: The installed plugins.
        device: Name of the torch device.
        progress: Called with (done, total, values).
        others: Where further processes of this stage may run; without them a stage that asks for
            several devices takes the next ones.

    Returns:
        The record, as published. Its seconds are this process's; where a training was taken up
        from a checkpoint, ``facts.resumed`` is the number of epochs done before.
    """
    module = importlib.import_module(_MODULES[stage.kind.value])
    key = stage.key
    wall, cpu = time.perf_counter(), _cpu_s()
    resumed: dict[str, int] = {}

    def watched(done: int, total: int, values: Mapping[str, float]) -> None:
        if "resumed" in values:
            resumed["resumed"] = int(values["resumed"])
        progress(done, total, values)

    with store.writing(key) as folder:
        task = Task(stage, store, folder, registry, device, watched, tuple(others))
        outcome: Outcome = module.run(task)
        record = Record(
            key=key,
            stage=describe(stage),
            label=stage.label,
            facts={**outcome.facts, **resumed},
            metrics=outcome.metrics,
            files=hash_files(folder),
            provenance={**provenance.collect(device), "plugin": _origin(stage, registry)},
            wall_s=round(time.perf_counter() - wall, 3),
            cpu_s=round(_cpu_s() - cpu, 3),
            peak_mem_gib=round(_peak_memory_gib(), 3),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        store.publish(folder, record)
    return record


def _origin(stage: Stage, registry: Registry) -> str | None:
    """Return the distribution and version of the stage's plugin; of a layout there is none."""
    use = stage.plugin
    if use is None or use.kind not in HOOKS:
        return None
    return str(registry.find(use.kind, use.name).origin)


def _cpu_s() -> float:
    """Return the processor's seconds of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def _peak_memory_gib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
