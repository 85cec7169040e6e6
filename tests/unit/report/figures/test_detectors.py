"""ROC and scores of detectors: the numbers are those of the scores."""

from __future__ import annotations

import numpy as np
import pytest

from backbench.report.figures.detectors import roc_figure, score_figure
from backbench.results.detection import roc
from tests.unit.report.figures.drawn import checked

SCORES = np.array([-2.0, -1.0, 0.5, 0.5, 3.0])
POSITIVE = np.array([False, False, False, True, True])


def test_a_roc_goes_through_ties_in_one_step() -> None:
    false, true = roc(SCORES, POSITIVE)
    assert true.tolist() == [0, 0.5, 1, 1, 1]
    assert false == pytest.approx([0, 0, 1 / 3, 2 / 3, 1])


def test_the_figure_has_the_area_and_the_rates() -> None:
    found = {"attacked": (SCORES, POSITIVE), "control": (-SCORES, POSITIVE)}
    figure = checked(lambda: roc_figure("dede", "triggered images", found))
    assert figure.rows[0] == ("AUROC", "0.917", "0.083")
    assert figure.rows[1] == ("TPR at FPR 0.01", "0.500", "0.000")
    assert figure.rows[-1] == ("TPR at FPR 0.5", "1.000", "0.000")
    assert "AUROC 0.917 on the attacked" in figure.alternative


def test_scores_are_summed_up_by_sort() -> None:
    figure = checked(lambda: score_figure("dede", "triggered images", SCORES, POSITIVE))
    assert figure.rows[0] == ("clean images", "3", "-1.9", "-1", "0.35", "0.333")
    assert figure.rows[1][-1] == "1.000"
    assert "rejects 0.333 of the clean images and 1.000" in figure.alternative
