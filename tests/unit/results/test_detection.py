"""Detection scores against hand-made cases and scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from backbench.results.detection import auroc, average_precision, detection, precision_at, recall_at

#: Six images: poisoned, clean, poisoned and clean in a tie, clean, poisoned.
SCORES = np.array([3.0, 2.0, 1.0, 1.0, -1.0, -2.0])
POISONED = np.array([True, False, True, False, False, True])


def test_by_hand():
    # of 9 pairs the poisoned one wins 3 + 1.5 (one lost, one tie, one won) + 0
    assert auroc(SCORES, POISONED) == pytest.approx(4.5 / 9)
    # thresholds: 1/1 at a third, 2/4 at two thirds, 3/6 at all
    assert average_precision(SCORES, POISONED) == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert precision_at(SCORES, POISONED, 1) == 1
    assert precision_at(SCORES, POISONED, 3) == pytest.approx(1.5 / 3)  # a tie is cut: half of it
    assert recall_at(SCORES, POISONED, 0.3) == pytest.approx(1 / 3)
    assert recall_at(SCORES, POISONED, 0.7) == pytest.approx(2 / 3)
    found = detection(SCORES, POISONED)
    assert found["detection/dropped"] == 4
    assert found["detection/clean_lost"] == 2
    assert found["detection/clean_lost_share"] == pytest.approx(2 / 3)
    assert found["detection/recall"] == pytest.approx(2 / 3)
    assert found["detection/precision"] == pytest.approx(1 / 2)
    assert found["detection/precision_at_5"] == pytest.approx(2 / 5)
    assert found["detection/precision_at_poisons"] == pytest.approx(1.5 / 3)
    assert found["detection/recall_at_1pct_fp"] == pytest.approx(1 / 3)
    assert "detection/precision_at_10" not in found  # there are six


@pytest.mark.parametrize("levels", [3, 40, 0], ids=["many ties", "some ties", "no ties"])
def test_as_scikit_learn(levels: int):
    rng = np.random.default_rng(levels)
    poisoned = rng.random(700) < 0.1
    scores = rng.normal(size=700) + poisoned
    if levels:
        scores = np.floor(scores * levels / 4)
    assert auroc(scores, poisoned) == pytest.approx(sklearn_metrics.roc_auc_score(poisoned, scores))
    expected = sklearn_metrics.average_precision_score(poisoned, scores)
    assert average_precision(scores, poisoned) == pytest.approx(expected)
    share, recall, _ = sklearn_metrics.roc_curve(poisoned, scores, drop_intermediate=False)
    for most in (0.01, 0.2):
        assert recall_at(scores, poisoned, most) == pytest.approx(recall[share <= most].max())
    found = detection(scores, poisoned)
    said = scores > 0
    assert found["detection/recall"] == sklearn_metrics.recall_score(poisoned, said)
    assert found["detection/precision"] == sklearn_metrics.precision_score(poisoned, said)


def test_precision_at_is_that_of_a_random_order_of_ties():
    rng = np.random.default_rng(0)
    poisoned = rng.random(60) < 0.4
    scores = rng.integers(0, 3, 60).astype(float)
    drawn = []
    for _ in range(4000):
        order = np.lexsort((rng.random(60), -scores))
        drawn.append(poisoned[order[:25]].mean())
    assert precision_at(scores, poisoned, 25) == pytest.approx(np.mean(drawn), abs=0.005)


def test_the_worst_and_the_best():
    poisoned = np.arange(20) < 5
    best = detection(np.where(poisoned, 1.0, -1.0), poisoned)
    for name in ("auroc", "average_precision", "recall", "precision", "recall_at_1pct_fp"):
        assert best[f"detection/{name}"] == 1
    worst = detection(np.where(poisoned, -1.0, 1.0), poisoned)
    assert (
        worst["detection/auroc"] == worst["detection/recall"] == worst["detection/precision"] == 0
    )
    assert worst["detection/clean_lost"] == 15


def test_a_clean_training_set_has_only_losses():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = detection(np.array([1.0, -1, -1, -1]), np.zeros(4, dtype=bool))
        nothing = detection(np.array([-1.0, -2]), np.array([True, False]))
    assert found == {
        "detection/dropped": 1,
        "detection/clean_lost": 1,
        "detection/clean_lost_share": 0.25,
    }
    assert "detection/precision" not in nothing
    assert nothing["detection/recall"] == 0
