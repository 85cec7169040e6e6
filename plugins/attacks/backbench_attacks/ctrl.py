"""CTRL: a trigger in the frequencies of an image's colors."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backbench.plugin import Box, Pixels, Split, Stamp
from backbench_attacks.clean_label import CleanLabelAttack
from backbench_attacks.ctrl_options import CTRLOptions

#: Red, green and blue of a level of U and of V. Source: kornia's yuv_to_rgb.
_RGB_OF_UV = np.array([[0.0, -0.396, 2.029], [1.14, -0.581, 0.0]])


class CTRL(CleanLabelAttack):
    """Raises two coefficients of the cosine transform of each block, in both color channels.

    Source: Li et al. 2023, An embarrassingly simple backdoor attack on self-supervised learning,
        section 3; published code utils/frequency.py: RGB to YUV, orthonormal two-dimensional
        DCT-II of each window, coefficients (15, 15) and (31, 31) of U and V plus the magnitude,
        and back, cut to [0, 255].
    Differs: all steps but the last are linear, so that one pattern is added to every window, and
        the published pair of color matrices, which is no exact inverse, moves no level. Levels are
        rounded, not cut off. What no whole window covers stays as it is; there, it is an error.
    """

    options: CTRLOptions

    def stamp(self, image: Pixels, rng: np.random.Generator, split: Split) -> Stamp:  # noqa: ARG002
        """Add the pattern to every window; see :meth:`backbench.plugin.Attack.stamp`.

        Raises:
            ValueError: If the image is smaller than a window.
        """
        side = self.options.window
        down, across = (length // side for length in image.shape[:2])
        if not min(down, across):
            raise ValueError(
                f"window = {side} is more than an image of {image.shape[1]} x {image.shape[0]} "
                "pixels has: make it smaller, and the coefficients with it"
            )
        height, width = down * side, across * side
        pixels = image.copy()
        whole = pixels[:height, :width]
        levels = whole + np.tile(self.pattern, (down, across, 1))
        whole[:] = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        return Stamp(pixels, Box(0, 0, width, height), opacity=1.0)

    @cached_property
    def pattern(self) -> NDArray[np.float64]:
        """The values added to a window, (window, window, 3), in levels of red, green and blue."""
        side, magnitude = self.options.window, self.options.magnitude
        wave = sum(basis(side, row, column) for row, column in self.options.coefficients)
        color = magnitude * _RGB_OF_UV.sum(axis=0)  # the same in U and in V
        pattern: NDArray[np.float64] = np.multiply.outer(wave, color)
        return pattern


def basis(side: int, row: int, column: int) -> NDArray[np.float64]:
    """Return a block whose orthonormal DCT-II is 1 at one coefficient and 0 elsewhere."""

    def wave(frequency: int) -> NDArray[np.float64]:
        scale = np.sqrt((1 if frequency == 0 else 2) / side)
        angles = np.pi * (2 * np.arange(side) + 1) * frequency / (2 * side)
        values: NDArray[np.float64] = scale * np.cos(angles)
        return values

    block: NDArray[np.float64] = np.multiply.outer(wave(row), wave(column))
    return block
