"""What both evaluators do with features before they look at labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbench_evaluators.options import labels_of_class

Floats = NDArray[np.float32]


def unit(features: Floats) -> Floats:
    """Scale each row of (N, D) to length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths == 0, 1, lengths), dtype=np.float32)


def labelled_subset(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
    """Choose the pictures whose labels are used: the same share of each class.

    Args:
        labels: (N,).
        fraction: Share of each class, in (0, 1]; at least one picture.
        seed: Seed of the choice.

    Returns:
        Indices in ascending order, (M,). A greater fraction contains a smaller one.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(members[: labels_of_class(len(members), fraction)])
    return np.sort(np.concatenate(chosen))
