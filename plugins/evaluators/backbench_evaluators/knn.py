"""k-NN evaluation: a vote of the nearest labelled images."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from backbench.plugin import Evaluator, Scores
from backbench.seeds import derive
from backbench_evaluators.evaluator_options import KNNOptions
from backbench_evaluators.feature_sets import Floats, labelled_subset, unit

with warnings.catch_warnings():
    # faiss's generated wrappers lack an attribute that newer Pythons ask for.
    warnings.simplefilter("ignore", DeprecationWarning)
    import faiss

#: What lifts the class of the nearest among tied ones; less than a vote of 10,000.
LIFT = np.float32(1e-4)


class KNN(Evaluator):
    """The k nearest labelled images vote, by the distance of unit vectors.

    Args:
        options: See :class:`KNNOptions`.
        seed: Seed of the choice of labelled images.

    Source: Saha et al. 2022; published code moco/eval_knn.py: faiss IndexFlatL2 on
        L2-normalized features, unweighted majority, k of 1 and 50.
    Differs: float32 instead of float16; ties go to the class of the nearest image among the
        tied classes, where the published code breaks them at random.
    """

    options: KNNOptions

    def fit(self, features: Floats, labels: NDArray[np.int64], classes: int) -> None:
        """Index clean training features; see :meth:`backbench.plugin.Evaluator.fit`."""
        chosen = labelled_subset(labels, self.options.label_fraction, derive(self.seed, "labelled"))
        self._labels, self._classes = labels[chosen], classes
        self._index = faiss.IndexFlatL2(features.shape[1])
        self._index.add(np.ascontiguousarray(unit(features[chosen])))

    def predict(self, features: Floats) -> Scores:
        """Return shares of the votes, (M, classes), of features (M, D), for each k of a list."""
        most = min(self.options.largest, len(self._labels))
        _, nearest = self._index.search(np.ascontiguousarray(unit(features)), most)
        neighbors = self._labels[nearest]
        if isinstance(self.options.k, int):
            return vote(neighbors, self._classes)
        return {f"k={k}": vote(neighbors[:, :k], self._classes) for k in self.options.k}


def vote(neighbors: NDArray[np.int64], classes: int) -> Floats:
    """Count votes.

    Args:
        neighbors: Class of each neighbor, the nearest first, (M, k).
        classes: Number of classes, C.

    Returns:
        Shares, (M, C), float32. Among the classes with most votes, that of the nearest
        neighbor is lifted by 1e-4, so that it alone is the highest.
    """
    count, k = neighbors.shape
    rows = np.arange(count)
    cells = (rows[:, None] * classes + neighbors).ravel()
    votes = np.bincount(cells, minlength=count * classes).reshape(count, classes)
    leads = np.take_along_axis(votes, neighbors, axis=1) == votes.max(axis=1, keepdims=True)
    winner = neighbors[rows, leads.argmax(axis=1)]
    shares = np.asarray(votes / k, dtype=np.float32)
    shares[rows, winner] += LIFT
    return shares
