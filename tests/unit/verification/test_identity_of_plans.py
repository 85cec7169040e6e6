"""What makes a plan a plan: each cell's own stages, and a control that is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from backbench.model import Cell, CellName, Plan, PluginUse, Stage, StageKind
from backbench.plugin.registry import FILES
from backbench.verification.bundle import plan_as_json, plan_from_json
from backbench.verification.identity import description_differences
from backbench.verification.plan_check import plan_differences
from tests.factories import record


def use(kind: str, name: str) -> PluginUse:
    return PluginUse(kind, name, "backbench", 1, {}, {})


def stage(kind: StageKind, name: str, seed: int | None = 0, **inputs: str) -> Stage:
    plugin = use(kind.value, name) if name else None
    return Stage(kind, plugin, seed, inputs)


def make() -> Plan:
    stages = {
        "data": stage(StageKind.DATASET, "embedded", None),
        "poison": stage(StageKind.POISON, "patch", dataset="data"),
        "bad": stage(StageKind.PRETRAIN, "byol", dataset="data", poison="poison"),
        "good": stage(StageKind.PRETRAIN, "byol", dataset="data"),
        "bad_f": stage(StageKind.FEATURES, "", None, encoder="bad", dataset="data"),
        "bad_t": stage(
            StageKind.FEATURES, "", None, encoder="bad", dataset="data", poison="poison"
        ),
        "good_f": stage(StageKind.FEATURES, "", None, encoder="good", dataset="data"),
        "good_t": stage(
            StageKind.FEATURES, "", None, encoder="good", dataset="data", poison="poison"
        ),
        "judged": stage(StageKind.PREDICT, "knn", clean="bad_f", triggered="bad_t"),
        "control": stage(StageKind.PREDICT, "knn", clean="good_f", triggered="good_t"),
    }
    name = CellName("d", "patch", "byol", "none", "knn", 0)
    path = ("data", "poison", "bad", "bad_f", "bad_t", "judged")
    return Plan("b", stages, (Cell(name, path, "control"),))


def test_a_right_plan() -> None:
    assert list(plan_differences(make())) == []


def change_stage(key: str, **changes: object) -> Callable[[Plan], Plan]:
    def change(plan: Plan) -> Plan:
        changed = replace(plan.stages[key], **changes)  # type: ignore[arg-type]
        return replace(plan, stages={**plan.stages, key: changed})

    return change


def change_cell(**changes: object) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, cells=(replace(plan.cells[0], **changes),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (change_cell(control=None), "has no control"),
        (change_cell(control="judged"), "its control was trained on poison"),
        (change_cell(control="gone"), "its stage gone is not in the plan"),
        (change_cell(path=("data", "judged")), "its path is not that of an evaluation"),
        (change_cell(name=CellName("d", "none", "byol", "none", "knn", 0)), "has 1 poisons"),
        (change_cell(name=CellName("d", "patch", "byol", "none", "knn", 1)), "have the seed 0"),
        (change_stage("bad", inputs={"dataset": "other"}), "reads the dataset other"),
        (change_stage("control", plugin=use("evaluate", "linear")), "judged by another evaluator"),
        (change_stage("good", plugin=use("pretrain", "moco-v2")), "went through another pretrain"),
        (
            change_stage("control", inputs={"clean": "good_f"}),
            "its control is shown another trigger",
        ),
    ],
)
def test_a_wrong_plan(change: Callable[[Plan], Plan], sentence: str) -> None:
    assert any(sentence in one for one in plan_differences(change(make())))


def test_a_plan_comes_back_from_json() -> None:
    plan = make()
    again = plan_from_json(plan_as_json(plan))
    assert again.cells == plan.cells
    assert again.stages == plan.stages  # labels do not count


def test_the_content_of_an_options_file_is_part_of_what_is_compared() -> None:
    options = {"width": 8, "trigger": "mine.png"}
    files = {FILES: {"trigger": "a" * 64}}
    planned = Stage(
        StageKind.POISON,
        PluginUse("attack", "patch", "backbench", 1, options, {"width": 8, **files}),
        0,
    )
    assert list(description_differences(record(planned.key, planned), planned)) == []
    assert planned.plugin is not None
    use = replace(planned.plugin, identity={"width": 8, FILES: {"trigger": "b" * 64}})
    other = record(planned.key, replace(planned, plugin=use))
    assert any("content of files" in one for one in description_differences(other, planned))
