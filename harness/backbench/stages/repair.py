"""Mend an encoder with a defense. It sees the encoder and clean images, never the attack."""

from __future__ import annotations

from typing import Any, Final

from backbench.options.training import TrainingOptions
from backbench.plugin import Defense
from backbench.stages.changing import STATISTICS_ALONE, Changed, changed_by
from backbench.stages.defender import Request, context_of
from backbench.stages.keeping import keep_encoder
from backbench.stages.scores import checked_report
from backbench.stages.task import Outcome, Task
from backbench.store.flags import Flag
from backbench.store.metadata import RepairRecord

#: A defense may find nothing to mend.
UNCHANGED: Final = Flag(
    "unchanged",
    "the defense gave the encoder as it was: no weight has changed, and the numbers are those of "
    "no defense",
)


def run(task: Task) -> Outcome:
    """Write the mended encoder.

    Raises:
        ResultError: If the defense gave no encoder of the same architecture.
    """
    import torch

    from backbench.nn import load_encoder
    from backbench.training.device import arithmetic

    implementation, options, _ = task.plugin()
    defense: Defense = implementation(options)
    encoder = load_encoder(task.input("encoder")).to(task.device)
    request = Request()
    context = context_of(task, request)
    repaired, changed = changed_by(lambda one: defense.repair(one, context), encoder, "defense")
    keep_encoder(task.folder, repaired, task.mark, "the defense")
    found: dict[str, Any] = {}
    if isinstance(options, TrainingOptions):
        found = arithmetic(options, torch.device(task.device), repaired)
    report = checked_report(defense.report(), "the defense")
    metadata = RepairRecord(request.clean_fraction, found)
    flags = {Changed.NOTHING: (UNCHANGED,), Changed.STATISTICS: (STATISTICS_ALONE,)}
    return Outcome(metadata, flags.get(changed, ()), report)
