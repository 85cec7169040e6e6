"""Random numbers that are looked up, not consumed: a pure function of what they are for.

A number is a hash of (seed, epoch, image, view, purpose, draw), so that a view of an image is
the same whatever batch it is in, and whichever worker or device makes it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_Words = NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix(words: _Words) -> _Words:
    """Scramble 64-bit words: a bijection in which every input bit moves every output bit.

    Source: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators,
        with the constants of SplitMix64.
    """
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


class Draws:
    """The random numbers of one view of each image in a batch.

    Args:
        seed: In [0, 2**63).
        epoch: Number of the epoch.
        indices: Positions of the images in the training set, (B,).
        view: Number of the view.
    """

    def __init__(self, seed: int, epoch: int, indices: NDArray[np.int64], view: int) -> None:
        state = np.asarray([seed], dtype=np.uint64)
        for word in (epoch, view):
            state = mix(state + _STEP * np.asarray([word + 1], dtype=np.uint64))
        self._states = mix(state + _STEP * (indices.astype(np.uint64) + np.uint64(1)))

    def __len__(self) -> int:
        return len(self._states)

    def uniform(self, purpose: int, count: int) -> Floats:
        """Return numbers in [0, 1), (B, count), float32; another purpose has other numbers.

        ``count`` is at most 65,536; the first numbers do not depend on it.
        """
        counters = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(purpose << 16)
        words = mix(self._states[:, None] + _STEP * counters)
        return (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)

    def integers(
        self, purpose: int, high: NDArray[np.int64] | int, count: int
    ) -> NDArray[np.int64]:
        """Return integers in [0, high), (B, count).

        ``high`` is below 2**24: a number, or a number for each image, (B, 1).
        """
        return np.floor(self.uniform(purpose, count).astype(np.float64) * high).astype(np.int64)
