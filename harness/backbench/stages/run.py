"""Run one stage: inputs from the store, artifact and record into it."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from backbench.errors import StageError
from backbench.model import PluginUse, Stage, StageKind
from backbench.plugin.infos import KINDS
from backbench.plugin.registry import Registry
from backbench.results.outdated import CODES
from backbench.stages.dataset import check_unchanged
from backbench.stages.task import Outcome, Progress, Task
from backbench.store import provenance
from backbench.store.flags import Raised, carried
from backbench.store.integrity import checked, note_checked
from backbench.store.records import Record
from backbench.store.store import Store, hash_files
from backbench.system.arithmetic import standard_arithmetic
from backbench.system.memory import PeakMemory
from backbench.training.devices import Device


def runner(kind: StageKind) -> Callable[[Task], Outcome]:
    """Import the function that runs the stages of a kind."""
    name = "import_encoder" if kind is StageKind.IMPORT else kind.value.replace("-", "_")
    run: Callable[[Task], Outcome] = importlib.import_module(f"backbench.stages.{name}").run
    return run


#: Held while a stage runs.
_RUNNING: Final = threading.Lock()


@contextmanager
def _alone() -> Iterator[None]:
    """Refuse a second stage in this process: generators and threads of torch are shared."""
    if not _RUNNING.acquire(blocking=False):
        raise StageError(
            "another stage runs in this process: an executor must run each in a process of its own"
        )
    try:
        yield
    finally:
        _RUNNING.release()


def run_stage(
    stage: Stage,
    store: Store,
    registry: Registry,
    device: str,
    progress: Progress,
    *,
    others: Sequence[Device] = (),
    run: Callable[[Task], Outcome] | None = None,
) -> Record:
    """Run a stage and publish it.

    Args:
        stage: The stage; those that it reads are in the store.
        store: The store.
        registry: The installed plugins.
        device: Name of the torch device.
        progress: Called with (done, total, values).
        others: Devices of further processes of this stage; without them a stage that requests
            several devices takes the next ones.
        run: Runs the stage in place of its kind's module.

    Returns:
        The record in the store: of another process, if it has published the same stage meanwhile.
        Its seconds are those of its process; where a training was taken up from a checkpoint,
        ``resumed`` is the number of epochs done before.

    Raises:
        StoreError: If a file that the stage reads is not what its record states.
    """
    run = run or runner(stage.kind)
    key = stage.key
    wall, cpu, memory = time.perf_counter(), _cpu_s(), PeakMemory(device)
    resumed = 0

    def watched(done: int, total: int, values: Mapping[str, float]) -> None:
        nonlocal resumed
        resumed = int(values.get("resumed", resumed))
        progress(done, total, values)

    for use in stage.uses:
        if use.kind in KINDS:  # what it sets when it is imported is set aside
            registry.find(use.kind, use.name).implementation()
    inputs = {role: checked(store, one) for role, one in stage.inputs.items()}
    with _alone(), standard_arithmetic(), store.writing(key) as folder:
        task = Task(stage, store, folder, registry, device, watched, tuple(others))
        outcome: Outcome = run(task)
        check_unchanged(task)
        record = Record(
            key=key,
            stage=replace(stage, given={}),
            metadata=outcome.metadata,
            flags=carried(stage.label, outcome.flags, _inherited(inputs)),
            report=outcome.report,
            resumed=resumed,
            files=hash_files(folder),
            read={role: one.hashes for role, one in inputs.items()},
            provenance={
                **provenance.collect(device),
                **_plugins(task),
                **_inputs(stage, inputs, registry),
                **memory.provenance(),
            },
            wall_s=round(time.perf_counter() - wall, 3),
            cpu_s=round(_cpu_s() - cpu, 3),
            peak_mem_gib=round(memory.gib(), 3),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        published = store.publish(folder, record)
    if published == record:
        note_checked(store, record)
    return published


def _inherited(inputs: Mapping[str, Record]) -> Iterator[Raised]:
    """Yield the flags of what a stage has read."""
    for record in inputs.values():
        yield from record.flags


def _plugins(task: Task) -> dict[str, str | None]:
    """Return distribution, version and code of the plugins that did a stage, by their role.

    Of a layout there is no code, and nothing of a guard or a backbone where there is none.
    """
    found: dict[str, str | None] = {"plugin": None, CODES["plugin"]: None, **task.code}
    for role, code in CODES.items():
        if code in task.code:
            use: PluginUse = getattr(task.stage, role)
            found[role] = str(task.registry.find(use.kind, use.name).origin)
    return found


def _inputs(stage: Stage, inputs: Mapping[str, Record], registry: Registry) -> dict[str, Any]:
    """Return what a stage has read.

    Returns:
        ``plugins``: name, distribution and version, as installed here, of the plugin of every
        input, by role; ``data``: content of the dataset at the start, ``None`` without one.
    """
    plugins: dict[str, str] = {}
    data = stage.content if stage.kind is StageKind.DATASET else None
    for role, record in inputs.items():
        use = record.stage.plugin
        if use and use.kind in KINDS:
            plugins[role] = f"{use.name} of {registry.find(use.kind, use.name).origin}"
        data = data or record.provenance["data"]
    return {"plugins": plugins, "data": data}


def _cpu_s() -> float:
    """Return the processor's seconds of this process and of those that it has waited for."""
    return sum(os.times()[:4])
