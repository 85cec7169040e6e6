"""Mend an encoder with a defense. It sees the encoder and clean pictures, never the attack."""

from __future__ import annotations

import functools

import numpy as np

from backbench.errors import StageError
from backbench.images import Subset
from backbench.plugin import CleanImages, Defense, DefenseContext
from backbench.seeds import derive
from backbench.stages.data import clean_images
from backbench.stages.task import Outcome, Task


def run(task: Task) -> Outcome:
    """Write the mended encoder."""
    from backbench.nn import Encoder, load_encoder, save_encoder

    implementation, options, _ = task.plugin()
    defense: Defense = implementation(options)
    encoder = load_encoder(task.input("encoder")).to(task.device)
    repaired = defense.repair(encoder, context_of(task))
    if not isinstance(repaired, Encoder):
        raise StageError(f"the defense gave a {type(repaired).__name__}, not an Encoder")
    save_encoder(task.folder, repaired)
    return Outcome()


def context_of(task: Task) -> DefenseContext:
    """Return what the harness gives to a defense."""
    return DefenseContext(
        seed=task.seed,
        device=task.device,
        clean=functools.partial(_clean_fraction, task),
        progress=task.progress,
    )


def _clean_fraction(task: Task, fraction: float) -> CleanImages:
    """Return the first part of a seeded shuffle of the clean training set, in order."""
    if not 0 < fraction <= 1:
        raise StageError(f"a clean fraction lies in (0, 1], not {fraction}")
    images = clean_images(task, "train")
    rng = np.random.default_rng(derive(task.seed, "defense", "clean"))
    count = max(1, int(fraction * len(images)))
    chosen = np.sort(rng.permutation(len(images))[:count])
    return CleanImages(images=Subset(images, chosen), fraction=fraction)
