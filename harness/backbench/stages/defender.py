"""The context of a defense: clean images that it may request, and a note of what it requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbench.errors import StageError
from backbench.images import Subset
from backbench.plugin import CleanImages, DefenseContext, count_of
from backbench.plugin.recipes import TRAIN
from backbench.poison.manifest import read_manifest
from backbench.seeds import derive
from backbench.stages.inputs import Inputs
from backbench.stages.task import Task
from backbench.stages.verdicts import read_verdict


@dataclass(slots=True)
class Request:
    """Requests of a defense so far, and whether it has done nothing.

    Args:
        clean_fraction: The largest share of the training set that it has requested as clean.
        idle: Whether it gave back the method that it was to guard.
    """

    clean_fraction: float = 0.0
    idle: bool = False


def context_of(
    task: Task,
    request: Request,
    trusted: NDArray[np.int64] | None = None,
    most: float = 1.0,
) -> DefenseContext:
    """Return the context of a defense.

    Its seed is used for nothing else: neither for the weights that the encoder started from, nor
    for the choice of the poisons.

    Args:
        task: The stage.
        request: Grows with what the defense requests.
        trusted: Indices of the training images that may be given away as clean; all if ``None``.
        most: Largest fraction of the training set that a defense may request.
    """
    images = Inputs(task).train
    rng = np.random.default_rng(derive(task.seed, "defense", "clean"))
    order = rng.permutation(np.arange(len(images)) if trusted is None else trusted)

    def clean(fraction: float) -> CleanImages:
        if not 0 < fraction <= most:
            raise StageError(f"the clean fraction lies in (0, {most:g}], not {fraction:g}")
        request.clean_fraction = max(request.clean_fraction, fraction)
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


def trusted_images(task: Task, images: int) -> NDArray[np.int64]:
    """Return which of N clean training images no poison replaces or is made of.

    The clean twin of a poison would give the poison away to a defense that looks for it.
    """
    trusted = np.ones(images, dtype=bool)
    if task.has("poison"):
        for mark in read_manifest(task.input("poison") / "train.jsonl"):
            trusted[[part.index for part in mark.parts if part.set == TRAIN]] = False
            if mark.index < images:
                trusted[mark.index] = False
    return np.flatnonzero(trusted)
