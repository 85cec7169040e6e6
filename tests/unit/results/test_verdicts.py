"""Verdicts are scored over encoders, each once, beside the clean encoders of their method."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score
from tests.factories import record

from backbench.model import Cell, CellName, Detection, Plan, PluginUse, Stage, StageKind
from backbench.report.sheet import Sheet
from backbench.report.verdicts import encoder_sheet, verdict_sheet
from backbench.results.verdicts import (
    ALL,
    Judged,
    auroc_interval,
    auroc_variance,
    groups,
    judged,
    scored,
    wilson,
)
from backbench.store.metadata import InspectRecord
from backbench.store.records import Record


def encoder(score: float, attack: str = "none", method: str = "byol", seed: int = 0) -> Judged:
    made = record(stage=StageKind.INSPECT, metadata=InspectRecord(score, {"size": 2 * score}))
    return Judged("drawn", method, attack, "decree", seed, made)


SCORES = [
    (-0.5, "none"),
    (-0.1, "none"),
    (0.2, "none"),
    (0.1, "patch"),
    (0.4, "patch"),
    (-0.2, "bad"),
]


def test_numbers_are_those_of_scipy_and_scikit_learn() -> None:
    found = scored([encoder(score, attack) for score, attack in SCORES])
    scores = np.array([score for score, _ in SCORES])
    attacked = np.array([attack != "none" for _, attack in SCORES])
    assert found["verdict/attacked"].mean == found["verdict/clean"].mean == 3
    assert found["verdict/accuracy"].mean == pytest.approx(4 / 6)
    assert found["verdict/auroc"].mean == pytest.approx(roc_auc_score(attacked, scores))
    expected = average_precision_score(attacked, scores)
    assert found["verdict/average_precision"].mean == pytest.approx(expected)
    for name, hits, n in (("tpr", 2, 3), ("fpr", 1, 3), ("accuracy", 4, 6)):
        summary = found[f"verdict/{name}"]
        interval = binomtest(hits, n).proportion_ci(method="wilson")
        assert (summary.n, summary.mean) == (n, pytest.approx(hits / n))
        assert summary.ci95 == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_what_needs_encoders_that_are_not_there_is_left_out() -> None:
    clean = scored([encoder(-1.0), encoder(1.0)])
    assert set(clean) == {f"verdict/{name}" for name in ("attacked", "clean", "accuracy", "fpr")}
    bad = scored([encoder(1.0, "patch")])
    assert set(bad) == {f"verdict/{name}" for name in ("attacked", "clean", "accuracy", "tpr")}


@pytest.mark.parametrize("hits", [0, 1, 7, 10])
def test_wilsons_interval_is_that_of_scipy(hits: int) -> None:
    expected = binomtest(hits, 10).proportion_ci(method="wilson")
    low, high = wilson(hits, 10)
    assert (low, high) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high))


def test_the_variance_of_an_auroc_is_that_of_exponential_scores() -> None:
    """Hanley and McNeil take scores to be exponential, of any two scales."""
    rng = np.random.default_rng(0)
    positives, negatives, area = 7, 5, 0.8
    scale = area / (1 - area)  # of positives: the chance to be larger than a negative is .8
    high = scale * rng.exponential(size=(20_000, positives))
    low = rng.exponential(size=(20_000, negatives))
    areas = (high[:, :, None] > low[:, None, :]).mean(axis=(1, 2))
    assert areas.mean() == pytest.approx(area, abs=0.005)
    assert auroc_variance(area, positives, negatives) == pytest.approx(areas.var(), rel=0.05)


@pytest.mark.parametrize("area", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_an_interval_holds_the_values_that_are_not_too_far(area: float) -> None:
    low, high = auroc_interval(area, 6, 4)
    assert 0 <= low <= area <= high <= 1
    for end in {low, high} - {0.0, 1.0}:
        distance = 1.959964 * math.sqrt(auroc_variance(end, 6, 4))
        if end != high or area < 1:
            swapped = 1.959964 * math.sqrt(auroc_variance(1 - end, 4, 6))
            expected = distance if end == low else swapped
            assert abs(area - end) == pytest.approx(expected, rel=1e-5)


def test_separated_encoders_leave_a_wide_interval_and_more_of_them_a_narrower() -> None:
    few, many = auroc_interval(1.0, 3, 3)[0], auroc_interval(1.0, 100, 100)[0]
    assert few < 0.7
    assert many > 0.95


def test_groups_are_of_all_methods_and_attacks_and_of_each() -> None:
    encoders = [
        encoder(0.0, attack, method)
        for method in ("byol", "moco-v2")
        for attack in ("none", "patch", "bad")
    ]
    found = {(one.method, one.attack): one.encoders for one in groups(encoders)}
    assert len(found) == 9
    assert len(found[ALL, ALL]) == 6
    assert len(found["byol", ALL]) == 3
    assert {one.attack for one in found["byol", "bad"]} == {"none", "bad"}
    assert len(found[ALL, "patch"]) == 4
    (only,) = groups(encoders[:2])
    assert (only.method, only.attack, len(only.encoders)) == ("byol", "patch", 2)


def cell(evaluator: str, attack: str, own: str, control: str | None, seed: int = 0) -> Cell:
    name = CellName("drawn", attack, "byol", "decree", evaluator, seed)
    return Cell(name, (f"p{own}",), control and f"p{control}", (Detection(own, control),))


@pytest.fixture
def plan() -> Plan:
    stage = Stage(StageKind.INSPECT, None, 0)
    cells = [
        cell(evaluator, attack, own, control)
        for evaluator in ("linear", "knn")
        for attack, own, control in (("none", "a", None), ("patch", "b", "a"), ("bad", "c", "a"))
    ]
    return Plan("b", dict.fromkeys("abc", stage), tuple(cells))


def record_of(key: str) -> Record | None:
    scores = {"a": -0.5, "b": 0.25}
    if key not in scores:
        return None
    verdict = InspectRecord(scores[key], {"pl1": 0.1}, 0.2)
    stage = Stage(StageKind.INSPECT, PluginUse("defense", "decree", "d", 1, {}, {}), 0)
    own = {"steps": 10.0 if key == "a" else 20.0}
    return record(key, stage, metadata=verdict, wall_s=3.0, report=own)


def test_an_encoder_counts_once_in_however_many_cells_and_controls_it_is(plan: Plan) -> None:
    found = judged(plan, record_of)
    assert sorted((one.attack, one.verdict.score) for one in found) == [
        ("none", -0.5),
        ("patch", 0.25),
    ]


def test_an_external_encoder_of_an_attack_is_not_clean_in_a_cell_without(plan: Plan) -> None:
    cells = (cell("linear", "none", "b", None), cell("linear", "patch", "b", "a"))
    found = judged(replace(plan, cells=cells), record_of)
    assert [(one.attack, one.record.key) for one in found] == [("patch", "b"), ("none", "a")]


def test_an_encoder_from_elsewhere_is_one_for_all_seeds(plan: Plan) -> None:
    read = {"encoder": "file", "dataset": "drawn"}
    stages = {key: Stage(StageKind.INSPECT, None, seed, read) for seed, key in enumerate("ab")}
    stages["file"] = Stage(StageKind.IMPORT, None, None)
    cells = tuple(cell("linear", "patch", key, None, seed) for seed, key in enumerate("ab"))
    (found,) = judged(replace(plan, stages=stages, cells=cells), record_of)
    assert (found.seed, found.record.key) == (0, "a")
    other = {**stages, "b": replace(stages["b"], inputs={**read, "dataset": "other"})}
    assert len(judged(replace(plan, stages=other, cells=cells), record_of)) == 2


def values(sheet: Sheet, metric: str) -> list[float]:
    return [line.values[metric].mean for line in sheet.lines if metric in line.values]


def test_the_tables_state_the_numbers_of_encoders_and_each_score(plan: Plan) -> None:
    sheet = verdict_sheet(plan, record_of)
    assert [line.names["attack"] for line in sheet.lines] == ["patch"]
    assert values(sheet, "verdict/attacked") == values(sheet, "verdict/clean") == [1.0]
    assert values(sheet, "verdict/auroc") == [1.0]
    each = encoder_sheet(plan, record_of)
    assert values(each, "verdict/score") == [0.25, -0.5]
    assert values(each, "verdict/accused") == [1.0, 0.0]
    assert values(each, "number/pl1") == [0.1, 0.1]
    assert values(each, "decree/steps") == [20.0, 10.0]
    assert values(sheet, "decree/steps:attacked") == [20.0]
    assert values(sheet, "decree/steps:clean") == [10.0]
    assert {"decree/steps:attacked", "decree/steps:clean"} <= {one.metric for one in sheet.shown}
    assert values(each, "cost/seconds") == [3.0, 3.0]
    assert [line.names["seed"] for line in each.lines] == ["0", "0"]
