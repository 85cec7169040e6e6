"""A dot in a corner."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbench.plugin import Attack, Box, Pixels, Split, Stamp
from backbench_sample import CornerDotOptions


class CornerDot(Attack):
    """Puts a square of one color into a random corner."""

    options: CornerDotOptions

    @property
    def target(self) -> int:
        """Class index of the target."""
        return self.metadata.classes.index(self.options.target)

    def choose(self, labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Choose a share of the target class, at least one image."""
        candidates = np.flatnonzero(labels == self.target)
        count = max(1, int(self.options.share * len(candidates)))
        return rng.permutation(candidates)[:count]

    def stamp(self, image: Pixels, rng: np.random.Generator, split: Split) -> Stamp:
        """Put the dot into one of the four corners."""
        side = self.options.side
        height, width = image.shape[:2]
        if side > min(height, width):
            raise ValueError(f"the dot of {side} px is larger than an image of {width} x {height}")
        x, y = rng.integers(2, size=2) * (width - side, height - side)
        pixels = image.copy()
        pixels[y : y + side, x : x + side] = self.options.color
        return Stamp(pixels, Box(int(x), int(y), side, side), 1.0)
