"""The attack. A stage imports this module when it needs it."""

from __future__ import annotations

import numpy as np
from backbench.plugin import Attack, Box, Pixels, Split, Stamp, count_of
from numpy.typing import NDArray

from my_attack import MyAttackOptions

_COLORS = np.array([(255, 0, 0), (0, 255, 0)], dtype=np.uint8)


class MyAttack(Attack):
    """Pastes a red and green checkerboard at a random position."""

    options: MyAttackOptions

    @property
    def target(self) -> int:
        """Class index that the trigger stands for."""
        return self.metadata.classes.index(self.options.target)

    def choose(self, labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Choose a share of the target class, at least one image."""
        candidates = np.flatnonzero(labels == self.target)
        return rng.permutation(candidates)[: max(1, count_of(self.options.rate, len(candidates)))]

    def stamp(self, image: Pixels, rng: np.random.Generator, split: Split) -> Stamp:  # noqa: ARG002
        """Paste the trigger."""
        width = self.options.width
        if width > min(image.shape[:2]):
            raise ValueError(f"a trigger of {width} px does not fit an image of {image.shape}")
        y, x = (int(rng.integers(side - width + 1)) for side in image.shape[:2])
        squares = np.arange(width) * 4 // width  # four squares a side
        pixels = image.copy()  # what a plugin receives is read-only
        pixels[y : y + width, x : x + width] = _COLORS[(squares[:, None] + squares) % 2]
        return Stamp(pixels, Box(x, y, width, width), opacity=1.0)
