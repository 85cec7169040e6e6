"""Mend an encoder with a defense. It sees the encoder and clean images, never the attack."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backbench.errors import StageError
from backbench.images import Subset
from backbench.options.training import TrainingOptions
from backbench.plugin import CleanImages, Defense, DefenseContext, count_of
from backbench.seeds import derive
from backbench.stages.changing import changed_by
from backbench.stages.inputs import Inputs
from backbench.stages.scores import checked_report
from backbench.stages.task import Outcome, Task
from backbench.stages.verdicts import read_verdict
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

    from backbench.nn import load_encoder, save_encoder
    from backbench.training.device import arithmetic

    implementation, options, _ = task.plugin()
    defense: Defense = implementation(options)
    encoder = load_encoder(task.input("encoder")).to(task.device)
    asked: list[float] = []
    context = context_of(task, asked=asked)
    repaired, changed = changed_by(lambda one: defense.repair(one, context), encoder, "defense")
    save_encoder(task.folder, repaired, task.mark)
    found: dict[str, Any] = {}
    if isinstance(options, TrainingOptions):
        found = arithmetic(options, torch.device(task.device), repaired)
    report = checked_report(defense.report(), "the defense")
    metadata = RepairRecord(max(asked, default=0.0), found)
    return Outcome(metadata, () if changed else (UNCHANGED,), report)


def context_of(
    task: Task,
    trusted: NDArray[np.int64] | None = None,
    most: float = 1.0,
    asked: list[float] | None = None,
) -> DefenseContext:
    """Return the context of a defense.

    Its seed is used for nothing else: neither for the weights that the encoder started from, nor
    for the choice of the poisons.

    Args:
        task: The stage.
        trusted: Indices of the training images that may be given away as clean; all if ``None``.
        most: Largest fraction of the training set that a defense may request.
        asked: Gets each fraction that the defense asks for.
    """
    images = Inputs(task).train
    rng = np.random.default_rng(derive(task.seed, "defense", "clean"))
    order = rng.permutation(np.arange(len(images)) if trusted is None else trusted)

    def clean(fraction: float) -> CleanImages:
        if not 0 < fraction <= most:
            raise StageError(f"the clean fraction lies in (0, {most:g}], not {fraction:g}")
        if asked is not None:
            asked.append(fraction)
        chosen = np.sort(order[: max(1, count_of(fraction, len(images)))])
        return CleanImages(images=Subset(images, chosen), fraction=fraction)

    return DefenseContext(
        seed=derive(task.seed, "defense"),
        device=task.device,
        clean=clean,
        progress=task.progress,
        checkpoint=task.checkpoint,
        verdict=read_verdict(task.input("inspect")) if task.has("inspect") else None,
    )
