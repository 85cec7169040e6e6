"""A part of the training images on which a plugin may choose, so that it chooses on no other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbench.options.base import count_of
from backbench.seeds import derive

_Ints = NDArray[np.int64]


def selection_split(labels: _Ints, fraction: float, seed: int) -> tuple[_Ints, _Ints]:
    """Split training images into those to learn from and those to choose on.

    Hyper-parameters, the epoch at which to stop, a threshold: what is chosen is chosen on the
    second part. The validation images are for the evaluation alone, and no plugin sees them
    before it has learned.

    Args:
        labels: Class of each image, (N,). Where classes are not known (-1), all are one class.
        fraction: Share of each class that is set apart, in (0, 1), to the nearest whole image:
            at least one, and never all. The only image of a class is for learning. A greater
            fraction sets a smaller one's images apart as well.
        seed: Seed of the choice: what the plugin was given.

    Returns:
        Positions to learn from and positions to choose on, each ascending.

    Raises:
        ValueError: If the fraction is not in (0, 1).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the held-out share must be in (0, 1), not {fraction:g}")
    rng = np.random.default_rng(derive(seed, "selection"))
    apart = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, count_of(fraction, len(members), nearest=True)), len(members) - 1)
        apart[members[:count]] = True
    return np.flatnonzero(~apart), np.flatnonzero(apart)
