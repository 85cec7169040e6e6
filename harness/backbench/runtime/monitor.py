"""What is watched while an encoder trains, on training pictures only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from backbench.images import ImageSet, Subset
from backbench.nn.encoder import Encoder
from backbench.runtime.features import extract
from backbench.seeds import derive

#: Most pictures of the bank in which neighbours are looked for, and most that look for them.
BANK, QUERIES = 2000, 500

#: Most pictures of which the spread of features is taken.
SPREAD = 128

#: Neighbours that vote.
NEIGHBOURS = 5


class Monitor:
    """Watches an encoder: are its features alive, and do neighbours share a class?

    The pictures that look for neighbours are held out of the bank; both are training pictures,
    and the validation split is never seen.

    Args:
        images: The training set. Labels of -1 are unknown: then no neighbours are looked for.
        seed: Seed of the choice of pictures.
        device: Name of the torch device.
        checks: How often neighbours are looked for in the course of the training.
        epochs: Length of the training.
    """

    def __init__(
        self, images: ImageSet, *, seed: int, device: str, checks: int, epochs: int
    ) -> None:
        order = np.random.default_rng(derive(seed, "monitor")).permutation(len(images))
        queries = min(QUERIES, len(order) // 5)
        self._device = device
        self._queries = Subset(images, order[:queries])
        self._bank = Subset(images, order[queries : queries + BANK])
        self._few = Subset(images, order[:SPREAD])
        known = np.unique(images.labels[order[: queries + BANK]])
        labelled = len(known) > 1 and known[0] >= 0 and queries > 0
        self._epochs = knn_epochs(epochs, checks) if labelled else frozenset()

    def __call__(self, encoder: Encoder, epoch: int) -> Mapping[str, float]:
        """Return what there is to say after an epoch: ``feature_spread``, ``knn_accuracy``."""
        few = extract(encoder, self._few, device=self._device)
        values = {"feature_spread": feature_spread(few)}
        if epoch in self._epochs:
            bank = extract(encoder, self._bank, device=self._device)
            queries = extract(encoder, self._queries, device=self._device)
            values["knn_accuracy"] = knn_accuracy(
                bank, self._bank.labels, queries, self._queries.labels
            )
        return values


def knn_epochs(epochs: int, checks: int) -> frozenset[int]:
    """Return the epochs after which neighbours are looked for, the last one among them."""
    checks = min(checks, epochs)
    return frozenset(round(epochs * (i + 1) / checks) - 1 for i in range(checks))


def feature_spread(features: NDArray[np.float32]) -> float:
    """Return how much features differ between pictures.

    Args:
        features: (N, D).

    Returns:
        √D × the mean over D of the standard deviation of the normalised features: about 1 where
        they fill the sphere, 0 where they have collapsed to a point.
    """
    return float(_unit(features).std(axis=0).mean() * np.sqrt(features.shape[1]))


def knn_accuracy(
    bank: NDArray[np.float32],
    bank_labels: NDArray[np.int64],
    queries: NDArray[np.float32],
    query_labels: NDArray[np.int64],
    neighbours: int = NEIGHBOURS,
) -> float:
    """Return the share of queries whose nearest neighbours vote for their class.

    Args:
        bank: (N, D).
        bank_labels: (N,).
        queries: (M, D).
        query_labels: (M,).
        neighbours: How many vote, by cosine similarity; ties go to the lower class.
    """
    count = min(neighbours, len(bank))
    similarity = _unit(queries) @ _unit(bank).T
    nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    votes = np.zeros((len(queries), int(bank_labels.max()) + 1), dtype=np.int64)
    np.add.at(votes, (np.arange(len(queries))[:, None], bank_labels[nearest]), 1)
    return float((votes.argmax(axis=1) == query_labels).mean())


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, 1e-12), dtype=np.float32)
