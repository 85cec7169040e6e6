"""The vote of the nearest labelled features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Weight that lifts the class of the nearest among tied classes; less than a vote of 10,000.
LIFT = np.float32(1e-4)

#: Length below which the squares of a row's numbers are rounded to few digits, or to 0.
_SHORTEST = 1e-17


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each row of (N, D), finite, to length 1; a row of zeros stays as it is."""
    with np.errstate(over="ignore", under="ignore"):
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
    # Squares of numbers above 1e19 or below 1e-19 leave the range of float32.
    odd = ~((lengths > _SHORTEST) & (lengths < np.inf))[:, 0]
    if odd.any():
        largest = np.abs(features[odd]).max(axis=1, keepdims=True, initial=0)
        features = features.copy()
        features[odd] /= np.where(largest == 0, 1, largest)
        lengths[odd] = np.linalg.norm(features[odd], axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths == 0, 1, lengths), dtype=np.float32)


def knn_votes(neighbors: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Return the shares of votes, (M, C), of the neighbors' classes, the nearest first, (M, k).

    Among the classes with most votes, that of the nearest neighbor is lifted by 1e-4, so that it
    alone is the highest.
    """
    if neighbors.min(initial=0) < 0:
        raise ValueError("a neighbor is of no class")
    count, k = neighbors.shape
    rows = np.arange(count)
    cells = (rows[:, None] * classes + neighbors).ravel()
    votes = np.bincount(cells, minlength=count * classes).reshape(count, classes)
    leads = np.take_along_axis(votes, neighbors, axis=1) == votes.max(axis=1, keepdims=True)
    winner = neighbors[rows, leads.argmax(axis=1)]
    shares = np.asarray(votes / k, dtype=np.float32)
    shares[rows, winner] += LIFT
    return shares


def knn_predict(
    bank: NDArray[np.float32],
    bank_labels: NDArray[np.int64],
    queries: NDArray[np.float32],
    neighbors: int,
) -> NDArray[np.int64]:
    """Return the class that neighbors in a bank (N, D) vote for, (M,), of queries (M, D).

    So many ``neighbors`` vote: the nearest by cosine similarity.
    """
    count = min(neighbors, len(bank))
    similarity = unit(queries) @ unit(bank).T
    nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(similarity, nearest, axis=1), axis=1, kind="stable")
    nearest = np.take_along_axis(nearest, order, axis=1)
    voted: NDArray[np.int64] = knn_votes(bank_labels[nearest], int(bank_labels.max()) + 1).argmax(1)
    return voted
