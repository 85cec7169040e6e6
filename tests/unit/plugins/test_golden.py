"""Every metric of an evaluation, worked out by hand on thirty images, and by scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from tests import factories

from backbench.metrics import Images, class_table, confusion_matrix, outcomes
from backbench.model import Cell, CellName, Denominator, Plan
from backbench.plugin import Predicted
from backbench.results.reader import Measured, numbers
from backbench.results.rows import build
from backbench_evaluators.flip_rate import flip_rate
from backbench_evaluators.paired_rows import effectiveness, robustness

TARGET = 0

#: How many images; their class; what is said of them without the trigger and with it, and with it
#: by the control. Ten images a class.
IMAGES = np.array(
    [
        (8, 0, 0, 0, 0),
        (2, 0, 1, 0, 1),
        (5, 1, 1, 0, 1),
        (3, 1, 1, 1, 1),
        (2, 1, 0, 0, 0),
        (4, 2, 2, 0, 2),
        (1, 2, 2, 1, 0),
        (4, 2, 2, 2, 2),
        (1, 2, 1, 0, 1),
    ]
)
LABELS, CLEAN, TRIGGERED, CONTROL = np.repeat(IMAGES[:, 1:], IMAGES[:, 0], axis=0).T

#: Rows are true classes.
CLEAN_MATRIX = [[8, 2, 0], [2, 8, 0], [0, 1, 9]]
TRIGGERED_MATRIX = [[10, 0, 0], [7, 3, 0], [5, 1, 4]]
CONTROL_MATRIX = [[8, 2, 0], [2, 8, 0], [1, 1, 8]]

#: Without the trigger 8 + 8 + 9 of 30 are right, with it 10 + 3 + 4; 7 + 5 of the 20 images of other
#: classes are taken for the target then.
METRICS = {
    "accuracy/clean": 25 / 30,
    "target_tp/clean": 8,
    "target_fp/clean": 2 + 0,
    "accuracy/triggered": 17 / 30,
    "target_tp/triggered": 10,
    "target_fp/triggered": 7 + 5,
    "asr": 12 / 20,
}
CONTROLS = {
    "accuracy/clean": 25 / 30,
    "target_tp/clean": 8,
    "target_fp/clean": 2,
    "accuracy/triggered": (8 + 8 + 8) / 30,
    "target_tp/triggered": 8,
    "target_fp/triggered": 2 + 1,
    "asr": 3 / 20,
}


@pytest.mark.parametrize(
    ("said", "matrix"),
    [(CLEAN, CLEAN_MATRIX), (TRIGGERED, TRIGGERED_MATRIX), (CONTROL, CONTROL_MATRIX)],
    ids=["clean", "triggered", "control"],
)
def test_confusion_and_classes(said: np.ndarray, matrix: list[list[int]]) -> None:
    table = class_table(confusion_matrix(LABELS, said, 3))
    assert table["confusion"] == matrix
    assert table["confusion"] == sklearn_metrics.confusion_matrix(LABELS, said).tolist()
    assert table["tp"] == [matrix[0][0], matrix[1][1], matrix[2][2]]
    assert table["fp"] == [
        matrix[1][0] + matrix[2][0],
        matrix[0][1] + matrix[2][1],
        matrix[0][2] + matrix[1][2],
    ]
    # the accuracy of a class is its TP of its ten images, which is recall
    recall = sklearn_metrics.recall_score(LABELS, said, average=None)
    assert np.divide(table["tp"], 10) == pytest.approx(recall)
    precision = sklearn_metrics.precision_score(LABELS, said, average=None, zero_division=0)
    taken = np.add(table["tp"], table["fp"])
    assert np.divide(table["tp"], np.maximum(taken, 1)) == pytest.approx(precision)


@pytest.mark.parametrize(
    ("triggered", "expected", "hits"),
    [(TRIGGERED, METRICS, 10 + 12), (CONTROL, CONTROLS, 8 + 3)],
    ids=["poisoned", "control"],
)
def test_every_number(triggered: np.ndarray, expected: Mapping[str, float], hits: int) -> None:
    found = numbers(outcomes(Images.of(LABELS, TARGET), CLEAN, triggered, TARGET))
    assert found == pytest.approx(expected)
    every = numbers(
        outcomes(Images.of(LABELS, TARGET), CLEAN, triggered, TARGET, denominator="all-images")
    )
    assert every == pytest.approx({**expected, "asr": hits / 30})

    others = LABELS != TARGET
    assert found["accuracy/triggered"] == sklearn_metrics.accuracy_score(LABELS, triggered)
    wrong = sklearn_metrics.accuracy_score(np.full(20, TARGET), triggered[others])
    assert found["asr"] == pytest.approx(wrong)
    everywhere = sklearn_metrics.accuracy_score(np.full(30, TARGET), triggered)
    assert every["asr"] == pytest.approx(everywhere)
    ours = sklearn_metrics.confusion_matrix(LABELS == TARGET, triggered == TARGET)
    assert (found["target_fp/triggered"], found["target_tp/triggered"]) == (ours[0, 1], ours[1, 1])


@pytest.mark.parametrize(
    ("denominator", "asr_lift"), [("other-classes", 12 / 20 - 3 / 20), ("all-images", 11 / 30)]
)
def test_lifts(denominator: Denominator, asr_lift: float) -> None:
    def measured(key: str, _: str) -> Measured:
        shown = {"own": TRIGGERED, "control": CONTROL}[key]
        return outcomes(Images.of(LABELS, TARGET), CLEAN, shown, TARGET, denominator=denominator)

    cell = Cell(CellName("drawn", "patch", "byol", "none", "linear", 0), ("own",), "control")
    plan = Plan("b", {}, (cell,))
    (row,) = build(plan, factories.record, {}.get, measured_of=measured).rows
    assert row.values["asr_lift"].mean == pytest.approx(asr_lift)
    assert row.values["fp_lift"].mean == 12 - 3
    assert row.lifts["accuracy/triggered"].mean == pytest.approx((17 - 24) / 30)
    assert row.lifts["accuracy/clean"].mean == 0


def test_ratings_of_a_defense_by_hand() -> None:
    labels = np.repeat([0, 1], [2, 8])
    before = Predicted(labels, np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1]))  # ASR 6/8, RA 2/8
    lossy = np.array([0, 0, 1, 1, 1, 1, 1, 1, 1, 0])  # one of ten is lost
    after = Predicted(lossy, np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2]))  # ASR 1/8, RA 4/8
    assert effectiveness(labels, after, before, 0, 3) == pytest.approx((5 / 8 - 0.1 + 1) / 2)
    assert robustness(labels, after, before, 0, 3) == pytest.approx((2 / 8 - 0.1 + 1) / 2)
    # a defense that makes things worse, and costs accuracy
    assert effectiveness(labels, before, after, 0, 3) == pytest.approx(0.5)
    worse = Predicted(1 - labels, before.triggered)
    assert effectiveness(labels, worse, before, 0, 3) == pytest.approx(0.0)
    # an untargeted attack: all images count for robustness: 4/10 before, 6/10 after
    assert robustness(labels, after, before, None, 3) == pytest.approx((0.2 - 0.1 + 1) / 2)
    assert effectiveness(labels, after, before, None, 3) is None
    plain = Predicted(labels, None)
    assert effectiveness(labels, plain, plain, 0, 3) is None
    assert robustness(labels, plain, plain, None, 3) is None


def test_flip_rate() -> None:
    # of other classes 5 + 3 + 4 + 1 + 4 are recognized without the trigger, which turns 5 + 4
    found = flip_rate(LABELS, CLEAN, TRIGGERED, TARGET, 3)
    assert found == pytest.approx(9 / 17)
    known = (LABELS == CLEAN) & (LABELS != TARGET)
    again = sklearn_metrics.accuracy_score(TRIGGERED[known], np.full(known.sum(), TARGET))
    assert found == pytest.approx(again)
    assert flip_rate(LABELS, CLEAN, CONTROL, TARGET, 3) == pytest.approx(1 / 17)
