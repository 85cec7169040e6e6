"""The vote of the nearest labelled features."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from backbench.nn.knn import knn_predict, knn_votes, unit


def test_ties_go_to_the_nearest_of_the_tied():
    neighbors = np.array([[3, 1, 2, 2, 1], [0, 4, 4, 0, 2], [2, 1, 0, 4, 3]])
    assert knn_votes(neighbors, 5).argmax(1).tolist() == [1, 0, 2]


def test_shares_of_the_votes():
    shares = knn_votes(np.array([[1, 1, 0, 2]]), 4)
    assert shares[0].tolist() == pytest.approx([0.25, 0.5, 0.25, 0], abs=1.01e-4)


@pytest.mark.parametrize("k", [1, 5, 7])
def test_the_vote_is_scikit_learns_but_for_ties(k: int):
    rng = np.random.default_rng(k)
    bank = rng.normal(size=(80, 6)).astype(np.float32)
    queries = rng.normal(size=(50, 6)).astype(np.float32)
    labels = rng.integers(0, 3, 80)
    peer = KNeighborsClassifier(k, algorithm="brute").fit(unit(bank), labels)
    shares = peer.predict_proba(unit(queries))
    untied = (shares == shares.max(1, keepdims=True)).sum(1) == 1
    assert untied.sum() > 20
    voted = knn_predict(bank, labels, queries, k)
    assert np.array_equal(voted[untied], shares.argmax(1)[untied])


def test_a_tie_of_a_prediction_goes_to_the_nearest():
    bank = np.float32([[0, 1], [1, 0], [0.1, 1], [1, 0.2]])
    labels = np.array([0, 1, 0, 1])
    assert knn_predict(bank, labels, np.float32([[2, 0.1], [0.1, 2]]), 4).tolist() == [1, 0]


def test_fewer_features_than_neighbors():
    assert knn_predict(np.float32([[1, 0]]), np.array([2]), np.float32([[0, 1]]), 5).tolist() == [2]


def test_a_row_of_zeros_stays_as_it_is():
    vectors = unit(np.float32([[3, 4], [0, 0]]))
    assert vectors.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]


@pytest.mark.parametrize("scale", [1.0, 1e19, 1e30, 1e-20, 1e-30])
def test_lengths_neither_overflow_nor_vanish(scale: float):
    rows = np.float32([[3, 4], [-4, 3], [0, 0]]) * np.float32(scale)
    expected = np.float32([[0.6, 0.8], [-0.8, 0.6], [0, 0]])
    np.testing.assert_allclose(unit(rows), expected, rtol=1e-6)


def test_the_vote_of_a_neighbor_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="of no class"):
        knn_votes(np.array([[0, -1]]), 2)
