"""Let a detector score clean and triggered validation images, in one set without labels.

It sees images and an encoder, never the attack: neither order nor name tells which image is
triggered. Metrics are computed from the stored scores when they are read.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from backbench.errors import StageError
from backbench.images import ImageSet, Pixels, Unlabelled, read_only
from backbench.plugin import Defense, DefenseInfo
from backbench.results.detectors import SCORES
from backbench.seeds import derive
from backbench.stages.defender import Request, context_of
from backbench.stages.evaluators import unchanged
from backbench.stages.fit_detector import DETECTOR
from backbench.stages.inputs import Inputs
from backbench.stages.scores import checked_report, checked_scores
from backbench.stages.task import Outcome, Task
from backbench.store.flags import Flag
from backbench.store.metadata import DetectRecord

REJECTS_CLEAN: Final = Flag(
    "rejects-clean",
    "the detector rejects more than half of the clean images: a score above 0 must accuse an image",
)


def run(task: Task) -> Outcome:
    """Write a score for each image; those above 0 are rejected."""
    from backbench.nn import load_encoder

    implementation, options, info = task.plugin()
    defense: Defense = implementation(options)
    if isinstance(info, DefenseInfo) and info.learns:
        _restore(task, defense)
    encoder = load_encoder(task.input("encoder")).to(task.device)
    inputs = Inputs(task)
    triggered = inputs.triggered if task.has("poison") else None
    count = len(inputs.val)
    index, is_triggered = shuffled(count, task.seed, triggered=triggered is not None)
    images = Unlabelled(_Mixed(inputs.val, triggered, index, is_triggered))
    request = Request()
    context = context_of(task, request)
    with unchanged(encoder, "the detector"):
        given = defense.score(encoder, images, context)
    scores = checked_scores(given, (len(images),), "the detector").astype(np.float64)
    tensors = {"scores": scores, "index": index, "triggered": is_triggered}
    save_file(tensors, task.folder / SCORES)
    return Outcome(
        DetectRecord(
            clean=count,
            triggered=len(images) - count,
            rejected=int((scores > 0).sum()),
            clean_fraction=request.clean_fraction,
        ),
        flags=flags_of(scores, is_triggered),
        report=checked_report(defense.report(), "the detector"),
    )


def flags_of(scores: NDArray[np.float64], triggered: NDArray[np.bool_]) -> tuple[Flag, ...]:
    """Flag scores (N,) whose sign seems to be turned; ``triggered`` (N,) marks the images."""
    return (REJECTS_CLEAN,) if np.mean(scores[~triggered] > 0) > 0.5 else ()


def shuffled(
    count: int, seed: int, *, triggered: bool
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the order in which a detector meets N validation images.

    Args:
        count: N.
        seed: Seed of the stage.
        triggered: Whether the triggered versions are among them.

    Returns:
        Index of each image among the validation images, and whether it is triggered, (N,) or (2N,).
    """
    rng = np.random.default_rng(derive(seed, "detect", "order"))
    order = rng.permutation(2 * count if triggered else count).astype(np.int64)
    return order % count, order >= count


def _restore(task: Task, defense: Defense) -> None:
    try:
        defense.restore(load_file(task.input("detector") / DETECTOR))
    except (ValueError, NotImplementedError) as error:
        raise StageError(f"{task.record('detector').label} cannot be used: {error}") from error


class _Mixed(ImageSet):
    """Clean and triggered images in a given order."""

    def __init__(
        self,
        clean: ImageSet,
        triggered: ImageSet | None,
        index: NDArray[np.int64],
        is_triggered: NDArray[np.bool_],
    ) -> None:
        super().__init__(clean.labels[index], [clean.sources[at] for at in index], clean.size)
        self._sets = (clean, clean if triggered is None else triggered)
        self._index, self._triggered = index, is_triggered
        stored = [one.pixels for one in self._sets[: 1 if triggered is None else 2]]
        if all(pixels is not None for pixels in stored):
            whole = np.concatenate([pixels for pixels in stored if pixels is not None])
            self._pixels = read_only(whole[index + is_triggered * len(clean)])

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8."""
        return self._sets[int(self._triggered[index])].image(int(self._index[index]))
