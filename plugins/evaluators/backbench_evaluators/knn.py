"""k-NN evaluation: a vote of the nearest labelled images."""

from __future__ import annotations

import warnings

import numpy as np

from backbench.nn.knn import knn_votes, unit
from backbench.plugin import Evaluator, Scores
from backbench_evaluators.classifiers import Floats, Ints, labelled_images
from backbench_evaluators.evaluator_options import KNNOptions

with warnings.catch_warnings():
    # faiss's generated wrappers lack an attribute that newer Pythons require.
    warnings.simplefilter("ignore", DeprecationWarning)
    import faiss


class KNN(Evaluator):
    """The k nearest labelled images vote, by the distance of unit vectors.

    Source: Saha et al. 2022; published code moco/eval_knn.py: faiss IndexFlatL2 on
        L2-normalized features, unweighted majority, k of 1 and 50.
    Differs: float32 instead of float16; ties go to the class of the nearest image among the
        tied classes, where the published code breaks them at random.
    """

    options: KNNOptions

    def fit(self, features: Floats, labels: Ints, classes: int) -> None:
        """Index clean training features; see :meth:`backbench.plugin.Evaluator.fit`."""
        chosen = labelled_images(self.options, labels, self.sources, self.seed)
        self._labels, self._classes = labels[chosen], classes
        self._index = faiss.IndexFlatL2(features.shape[1])
        self._index.add(np.ascontiguousarray(unit(features[chosen])))

    def predict(self, features: Floats) -> Scores:
        """Return shares of the votes, (M, classes), of features (M, D), for each k of a list."""
        most = min(self.options.largest, len(self._labels))
        _, nearest = self._index.search(np.ascontiguousarray(unit(features)), most)
        if nearest.min(initial=0) < 0:  # faiss's answer where no distance is a number
            raise ValueError("some features are not finite: they have no neighbors")
        neighbors = self._labels[nearest]
        if isinstance(self.options.k, int):
            return knn_votes(neighbors, self._classes)
        return {f"k={k}": knn_votes(neighbors[:, :k], self._classes) for k in self.options.k}
