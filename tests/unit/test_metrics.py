"""Metrics against hand-made confusion matrices and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from backbench.metrics import (
    accuracy,
    attack_success_rate,
    confusion_matrix,
    false_positives,
    score,
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
    # 7 pictures are not of class 0; 3 of them were taken for it
    assert attack_success_rate(confusion, 0) == pytest.approx(3 / 7)
    assert attack_success_rate(confusion, 2) == 0.0


def test_confusion_as_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 7, 500), rng.integers(0, 7, 500)
    ours = confusion_matrix(labels, predicted, 7)
    assert np.array_equal(ours, sklearn_metrics.confusion_matrix(labels, predicted))
    assert accuracy(ours) == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))


def test_classes_that_nobody_predicts_still_count() -> None:
    assert confusion_matrix(np.array([0]), np.array([0]), 4).shape == (4, 4)


def test_score_names_what_it_counts() -> None:
    triggered = np.zeros_like(LABELS)
    found = score(LABELS, PREDICTED, triggered, target=0, classes=3)
    assert found == {
        "accuracy/clean": 0.5,
        "target_tp/clean": 2.0,
        "target_fp/clean": 3.0,
        "accuracy/triggered": 0.3,
        "target_tp/triggered": 3.0,
        "target_fp/triggered": 7.0,
        "asr": 1.0,
    }
    assert score(LABELS, PREDICTED, None, None, 3) == {"accuracy/clean": 0.5}
    assert set(score(LABELS, PREDICTED, triggered, None, 3)) == {
        "accuracy/clean",
        "accuracy/triggered",
    }
