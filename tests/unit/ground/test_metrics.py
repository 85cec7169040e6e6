"""Metrics against hand-made confusion matrices and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from backbench.metrics import (
    accuracy,
    at,
    confusion_matrix,
    false_positives,
    true_positives,
)

#                       true: 0 0 0 1 1 1 2 2 2 2
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
PREDICTED = np.array([0, 0, 1, 1, 0, 0, 2, 2, 0, 1])


def test_confusion_by_hand() -> None:
    confusion = confusion_matrix(LABELS, PREDICTED, 3)
    assert confusion.tolist() == [[2, 1, 0], [2, 1, 0], [1, 1, 2]]
    assert true_positives(confusion).tolist() == [2, 1, 2]
    assert false_positives(confusion).tolist() == [3, 2, 0]
    assert accuracy(confusion) == pytest.approx(0.5)


def test_confusion_as_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 7, 500), rng.integers(0, 7, 500)
    ours = confusion_matrix(labels, predicted, 7)
    assert np.array_equal(ours, sklearn_metrics.confusion_matrix(labels, predicted))
    assert accuracy(ours) == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))


def test_classes_that_nobody_predicts_still_count() -> None:
    assert confusion_matrix(np.array([0]), np.array([0]), 4).shape == (4, 4)


@pytest.mark.parametrize("seed", range(3))
def test_counts_as_scikit_learn(seed: int) -> None:
    """TP and FP from scikit-learn's matrix, class by class."""
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 5, 400), rng.integers(0, 5, 400)
    ours = confusion_matrix(labels, predicted, 5)
    theirs = sklearn_metrics.confusion_matrix(labels, predicted, labels=range(5))
    for target in range(5):
        _, fp, _, tp = sklearn_metrics.confusion_matrix(
            labels == target, predicted == target
        ).ravel()
        assert true_positives(ours)[target] == tp == theirs[target, target]
        assert false_positives(ours)[target] == fp


def test_names_of_variants() -> None:
    assert at("asr", "") == "asr"
    assert at("accuracy/clean", "k=1") == "accuracy/clean@k=1"
