"""k-NN against faiss and scikit-learn."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from backbench_evaluators.evaluator_options import KNNOptions
from backbench_evaluators.knn import KNN


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, ...]:
    """Features and labels of seven overlapping clusters: training, validation."""
    rng = np.random.default_rng(0)
    labels = np.arange(900) % 7
    features = rng.normal(size=(7, 12))[labels] + 1.5 * rng.normal(size=(900, 12))
    features = features.astype(np.float32)
    return features[:700], labels[:700], features[700:], labels[700:]


def test_one_search_gives_the_votes_of_every_k(clusters: tuple[np.ndarray, ...]):
    train, labels, val, _ = clusters
    knn = KNN(KNNOptions(k=(1, 20, 50)), 0)
    knn.fit(train, labels, 7)
    found = knn.predict(val)
    assert list(found) == ["k=1", "k=20", "k=50"]
    own, others = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, val))
    for k in (1, 20, 50):
        alone = KNN(KNNOptions(k=k), 0)
        alone.fit(train, labels, 7)
        np.testing.assert_array_equal(found[f"k={k}"], alone.predict(val))

        peer = KNeighborsClassifier(k, algorithm="brute").fit(own, labels)
        shares = peer.predict_proba(others)
        untied = (shares == shares.max(axis=1, keepdims=True)).sum(axis=1) == 1
        assert untied.mean() > 0.5
        predicted = found[f"k={k}"].argmax(axis=1)
        np.testing.assert_array_equal(predicted[untied], shares.argmax(axis=1)[untied])

        _, nearest = faiss.knn(others.astype(np.float32), own.astype(np.float32), k)
        votes = np.stack([np.bincount(labels[row], minlength=7) for row in nearest])
        np.testing.assert_allclose(found[f"k={k}"], votes / k, atol=1.01e-4)
        for row in np.flatnonzero(~untied):  # the class of the nearest among the tied
            tied = votes[row] == votes[row].max()
            assert predicted[row] == next(c for c in labels[nearest[row]] if tied[c])
