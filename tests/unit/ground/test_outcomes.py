"""Metrics as outcomes of images, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from backbench.metrics import Images, outcomes
from backbench.plugin.infos import OWN_METRICS
from backbench.results.reader import numbers

#                       true: 0 0 0 1 1 1 2 2 2 2
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
PREDICTED = np.array([0, 0, 1, 1, 0, 0, 2, 2, 0, 1])


def test_every_metric_by_hand() -> None:
    triggered = np.zeros_like(LABELS)
    found = numbers(outcomes(Images.of(LABELS, 0), PREDICTED, triggered, 0))
    assert found == {
        "accuracy/clean": 0.5,
        "target_tp/clean": 2.0,
        "target_fp/clean": 3.0,
        "accuracy/triggered": 0.3,
        "target_tp/triggered": 3.0,
        "target_fp/triggered": 7.0,
        "asr": 1.0,
    }
    assert found.keys() == {one for one in OWN_METRICS if not one.startswith("detector/")}
    assert numbers(outcomes(Images.of(LABELS, None), PREDICTED, None, None)) == {
        "accuracy/clean": 0.5
    }
    assert set(outcomes(Images.of(LABELS, None), PREDICTED, triggered, None)) == {
        "accuracy/clean",
        "accuracy/triggered",
    }


def test_the_two_denominators_by_hand() -> None:
    usual = numbers(outcomes(Images.of(LABELS, 0), PREDICTED, PREDICTED, 0))
    found = numbers(
        outcomes(Images.of(LABELS, 0), PREDICTED, PREDICTED, 0, denominator="all-images")
    )
    # 3 of the 7 images of other classes, and 2 of class 0 itself, were taken for class 0
    assert usual.pop("asr") == 3 / 7
    assert found.pop("asr") == 5 / 10
    assert found == usual  # nothing else depends on it


def test_a_metric_of_no_image_is_no_number() -> None:
    labels, triggered = np.array([1, 1]), np.array([1, 0])
    assert "asr" not in outcomes(Images.of(labels, 1), labels, triggered, 1)
    every = outcomes(Images.of(labels, 1), labels, triggered, 1, denominator="all-images")
    assert every["asr"].value == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_rates_as_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 5, 400), rng.integers(0, 5, 400)
    for target in range(5):
        matrix = sklearn_metrics.confusion_matrix(labels == target, predicted == target)
        tn, fp, _, tp = matrix.ravel()
        found = outcomes(Images.of(labels, target), predicted, predicted, target)
        assert found["target_tp/clean"].value == tp
        assert found["target_fp/clean"].value == fp
        assert found["asr"].value == pytest.approx(fp / (fp + tn))
        every = outcomes(
            Images.of(labels, target), predicted, predicted, target, denominator="all-images"
        )
        everywhere = sklearn_metrics.accuracy_score(np.full(400, target), predicted)
        assert every["asr"].value == pytest.approx(everywhere)
        accuracy = sklearn_metrics.accuracy_score(labels, predicted)
        assert found["accuracy/clean"].value == pytest.approx(accuracy)
