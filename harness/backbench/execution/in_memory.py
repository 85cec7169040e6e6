"""Stages of an encoder that is in this process's memory, and in no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from backbench.execution.scheduler import Result
from backbench.execution.session import Session, forget_damaged
from backbench.external.encoder_options import MODULE
from backbench.model import Plan, StageKind
from backbench.stages import features
from backbench.stages.run import run_stage
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import ImportRecord

if TYPE_CHECKING:
    from backbench.nn import Encoder


def run_with_encoders(
    session: Session, plan: Plan, encoders: Mapping[str, Encoder]
) -> tuple[Plan, Result]:
    """Run a plan whose import stages are encoders in memory.

    Datasets and poisons run first, by the session's executor, and evaluators last. In between
    this process computes the features. ``encoders`` are by the keys of their import stages.
    """
    before = {
        key: stage
        for key, stage in plan.stages.items()
        if not encoders.keys() & set(plan.ancestors(key))
    }
    _, first = session.run(lambda _: replace(plan, stages=before, cells=()))
    if first.failed or first.interrupted:
        return plan, first
    devices = {
        key: parameter.device
        for key, encoder in encoders.items()
        for parameter in islice(encoder.parameters(), 1)
    }
    try:
        with session.store.running():
            here = _run_here(session, plan, encoders)
    finally:  # the features moved the caller's modules to the session's device
        for key, device in devices.items():
            encoders[key].to(device)
    _, last = session.run(lambda _: plan)
    last.executed[:0] = [*first.executed, *here]
    last.cached -= len(first.executed) + len(here)
    last.wall_s += first.wall_s
    return plan, last


def _run_here(session: Session, plan: Plan, encoders: Mapping[str, Encoder]) -> list[str]:
    """Run the imports and the features that are missing; return their keys."""
    from backbench.nn import Encoder
    from backbench.training.device import resolve_device
    from backbench.training.extraction import for_evaluation

    forget_damaged(plan, session.store)
    device, done = resolve_device(session.device), session.store.done()
    seen = {
        key: for_evaluation(encoder, device) if type(encoder) is Encoder else encoder
        for key, encoder in encoders.items()
    }
    ran = []
    for key, stage in plan.stages.items():
        if key in done:
            continue
        if stage.kind is StageKind.IMPORT:
            run = partial(_import, encoder=encoders[key])
        elif stage.kind is StageKind.FEATURES:
            run = partial(features.write, encoder=seen[stage.inputs["encoder"]])
        else:
            continue
        run_stage(stage, session.store, session.registry, device, lambda *_: None, run=run)
        ran.append(key)
    return ran


def _import(task: Task, encoder: Encoder) -> Outcome:
    """Describe the encoder; its weights stay with their owner."""
    stage = task.stage
    name = str(stage.plugin.options["name"]) if stage.plugin else ""
    return Outcome(ImportRecord(name, stage.content, MODULE, len(encoder.state_dict())))
