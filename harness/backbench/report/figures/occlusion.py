"""Saliency by occlusion: pure functions of an image and of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from backbench.images import Pixels
from backbench.nn.knn import unit
from backbench.plugin import Box
from backbench.report.figures.encoders import Floats

#: Side of the gray square that hides a part, and its steps, as parts of a side.
_PART: Final = 4
_STEPS: Final = 7


@dataclass(frozen=True, slots=True, eq=False)
class Saliency:
    """Saliency of an image under one encoder.

    Args:
        encoder: Name of the encoder.
        drops: What hiding each pixel takes from the score on average, (H, W).
        score: The score of the whole image.
    """

    encoder: str
    drops: NDArray[np.float64]
    score: float

    def inside(self, boxes: Sequence[Box]) -> float:
        """Return the share of the positive drops that lies in some boxes."""
        mask = np.zeros(self.drops.shape, dtype=bool)
        for box in boxes:
            mask[box.y : box.y + box.height, box.x : box.x + box.width] = True
        drops = np.maximum(self.drops, 0)
        return float(drops[mask].sum() / drops.sum()) if drops.any() else 0.0


def hidden(image: Pixels) -> tuple[list[Pixels], list[Box]]:
    """Return copies of an image, (H, W, 3), of each of which a gray square hides a part."""
    high, wide = image.shape[:2]
    side_y, side_x = max(1, high // _PART), max(1, wide // _PART)
    boxes = [
        Box(int(x), int(y), side_x, side_y)
        for y in np.unique(np.linspace(0, high - side_y, _STEPS).round())
        for x in np.unique(np.linspace(0, wide - side_x, _STEPS).round())
    ]
    copies = []
    for box in boxes:
        copy = image.copy()
        copy[box.y : box.y + box.height, box.x : box.x + box.width] = 128
        copies.append(copy)
    return copies, boxes


def occlusion(
    encoder: str, image: Pixels, boxes: Sequence[Box], scores: NDArray[np.float64]
) -> Saliency:
    """Return what hiding each part of an image takes from its score.

    Args:
        encoder: Name of the encoder.
        image: (H, W, 3).
        boxes: The B hidden parts, as of :func:`hidden`.
        scores: Of the image, then of each copy, (1 + B,).

    Source: Zeiler and Fergus 2014, occlusion sensitivity.
    """
    drops, seen = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    for box, value in zip(boxes, scores[1:], strict=True):
        part = slice(box.y, box.y + box.height), slice(box.x, box.x + box.width)
        drops[part] += scores[0] - value
        seen[part] += 1
    return Saliency(encoder, drops / np.maximum(seen, 1), float(scores[0]))


def lead(scores: Floats, target: int) -> NDArray[np.float64]:
    """Return by how much the target's score leads the greatest other one, (N,), of (N, C)."""
    table = scores.astype(np.float64)
    found: NDArray[np.float64] = table[:, target] - np.delete(table, target, axis=1).max(axis=1)
    return found


def cosines(features: Floats, means: Floats) -> Floats:
    """Return the cosines of features, (N, D), to the classes' mean features, (C, D): (N, C)."""
    return unit(features) @ unit(means).T
