"""Metrics against hand-made confusion matrices and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from backbench.metrics import (
    accuracy,
    at,
    attack_success_rate,
    confusion_matrix,
    false_positives,
    of_variant,
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
    # 7 images are not of class 0; 3 of them were taken for it
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


def test_the_two_denominators_by_hand() -> None:
    confusion = confusion_matrix(LABELS, PREDICTED, 3)
    # 3 of the 7 images of other classes, and 2 of class 0 itself, were taken for class 0
    assert attack_success_rate(confusion, 0, "other-classes") == pytest.approx(3 / 7)
    assert attack_success_rate(confusion, 0, "all-images") == pytest.approx(5 / 10)
    found = score(LABELS, PREDICTED, PREDICTED, 0, 3, denominator="all-images")
    usual = score(LABELS, PREDICTED, PREDICTED, 0, 3)
    assert found.pop("asr") == pytest.approx(0.5)
    assert usual.pop("asr") == pytest.approx(3 / 7)
    assert found == usual  # nothing else depends on it


def test_an_empty_denominator_is_no_number() -> None:
    only = confusion_matrix(np.array([1, 1]), np.array([1, 0]), 2)
    assert np.isnan(attack_success_rate(only, 1))
    assert attack_success_rate(only, 1, "all-images") == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_counts_and_rates_as_scikit_learn(seed: int) -> None:
    """TP, FP and both rates from scikit-learn's matrix and scores, class by class."""
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 5, 400), rng.integers(0, 5, 400)
    ours = confusion_matrix(labels, predicted, 5)
    theirs = sklearn_metrics.confusion_matrix(labels, predicted, labels=range(5))
    for target in range(5):
        tn, fp, _, tp = sklearn_metrics.confusion_matrix(
            labels == target, predicted == target
        ).ravel()
        assert true_positives(ours)[target] == tp == theirs[target, target]
        assert false_positives(ours)[target] == fp
        assert attack_success_rate(ours, target) == pytest.approx(fp / (fp + tn))
        everywhere = sklearn_metrics.accuracy_score(np.full(400, target), predicted)
        assert attack_success_rate(ours, target, "all-images") == pytest.approx(everywhere)


def test_names_of_variants() -> None:
    assert at("asr", "") == "asr"
    assert at("accuracy/clean", "k=1") == "accuracy/clean@k=1"
    metrics = {"asr@k=1": 0.1, "asr@k=10": 0.2, "accuracy/clean@k=1": 0.3}
    assert of_variant(metrics, "k=1") == {"asr": 0.1, "accuracy/clean": 0.3}
    assert of_variant(metrics, "k=10") == {"asr": 0.2}
    assert of_variant({"asr": 0.5}, "") == {"asr": 0.5}
