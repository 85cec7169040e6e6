"""Let a defense score the training images. It sees pixels and an encoder, never the attack.

Then its scores are compared with the manifest of the poison.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from backbench.errors import ResultError
from backbench.images import Unlabelled
from backbench.plugin import Defense
from backbench.plugin.defense import MOST_CLEAN
from backbench.poison.manifest import read_manifest
from backbench.results.detection import detection
from backbench.stages.defender import Request, context_of, trusted_images
from backbench.stages.inputs import Inputs
from backbench.stages.scores import checked_report, checked_scores
from backbench.stages.task import Outcome, Task
from backbench.store.flags import Flag
from backbench.store.metadata import SanitizeRecord

NOTHING_DROPPED: Final = Flag(
    "nothing-dropped",
    "the defense dropped no training image: the encoder is trained again on all of them",
)


def poison_mask(task: Task, images: int) -> NDArray[np.bool_]:
    """Return whether each training image, added poisons included, is poisoned, (N,)."""
    poisoned = np.zeros(images, dtype=bool)
    if task.has("poison"):
        for mark in read_manifest(task.input("poison") / "train.jsonl"):
            poisoned[mark.index] = True
    return poisoned


def run(task: Task) -> Outcome:
    """Write a score for each training image; those above 0 are dropped."""
    from backbench.nn import load_encoder

    implementation, options, _ = task.plugin()
    defense: Defense = implementation(options)
    encoder = load_encoder(task.input("encoder")).to(task.device)
    inputs = Inputs(task)
    images = Unlabelled(inputs.poisoned_train)
    poisoned = poison_mask(task, len(images))
    request = Request()
    trusted = trusted_images(task, len(inputs.train))
    context = context_of(task, request, trusted, MOST_CLEAN)
    given = defense.sanitize(encoder, images, context)
    scores = checked_scores(given, (len(images),), "the defense").astype(np.float64)
    dropped = int((scores > 0).sum())
    if dropped == len(images):
        raise ResultError("the defense dropped every training image")
    save_file({"scores": scores}, task.folder / "scores.safetensors")
    found = detection(scores, poisoned)
    record = SanitizeRecord(len(images), dropped, request.clean_fraction, found)
    report = checked_report(defense.report(), "the defense")
    return Outcome(record, () if dropped else (NOTHING_DROPPED,), report)
