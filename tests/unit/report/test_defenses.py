"""What a defense found, cost and took: the tables of ``show --detection`` and ``--trade-off``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from backbench.model import Cell, CellName, Plan, PluginUse, Stage, StageKind
from backbench.report.defenses import detection_sheet, trade_off_sheet
from backbench.report.sheet import Line, Sheet, print_sheet
from backbench.results.leaderboard import COLUMNS, Leaderboard, Row
from backbench.store.metadata import SanitizeRecord
from backbench.store.records import Record
from tests.factories import METADATA, record, row


def plan_and_records() -> tuple[Plan, dict[str, Record]]:
    """Two seeds, of which the second has not been trained again yet; two evaluators."""
    stages, cells, records = {}, [], {}
    use = PluginUse("defense", "filter", "d", 1, {}, {})
    for seed in (0, 1):
        first = Stage(StageKind.PRETRAIN, use, seed)
        sanitize = Stage(StageKind.SANITIZE, use, seed, {"encoder": first.key})
        again = Stage(StageKind.PRETRAIN, use, seed, {"sanitize": sanitize.key})
        last = Stage(StageKind.PREDICT, use, seed, {"clean": again.key})
        path = (first, sanitize, again, last)
        stages |= {stage.key: stage for stage in path}
        for evaluator in ("knn", "linear"):
            name = CellName("d", "patch", "moco", "filter", evaluator, seed)
            cells.append(Cell(name, tuple(stage.key for stage in path), None))
            bare = CellName("d", "patch", "moco", "none", evaluator, seed)
            cells.append(Cell(bare, (first.key, last.key), None))
        done = [(first, 60.0), (sanitize, 10.0 + seed), (again, 50.0)][: 3 - seed]
        for stage, wall in done:
            scored = stage is sanitize
            records[stage.key] = record(
                stage.key,
                stage,
                metadata=SanitizeRecord(6, 3, 0.1, {"detection/recall": 0.5 + seed / 4})
                if scored
                else METADATA[stage.kind],
                wall_s=wall,
                cpu_s=2 * wall,
                peak_mem_gib=1.5,
            )
    return Plan("b", stages, tuple(cells)), records


def printed(sheet, style: str) -> str:
    console = Console(file=io.StringIO(), width=40)
    print_sheet(sheet, style, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_what_all_lines_have_in_common_is_in_the_title_of_a_terminal_s_table():
    lines = [Line({"dataset": "d", "method": name}, (0,), {}) for name in ("byol", "moco")]
    sheet = Sheet("t", ("dataset", "method"), (), tuple(lines), "", "")
    title, header, *_ = printed(sheet, "table").splitlines()
    assert (title.split(), header.split()) == (["t", "·", "d"], ["Method", "n"])
    alone = printed(replace(sheet, lines=sheet.lines[:1]), "table")
    assert alone.splitlines()[1].split() == ["Dataset", "Method", "n"]
    assert "Dataset" in printed(sheet, "markdown")


def test_a_defense_has_one_line_for_all_evaluators():
    plan, records = plan_and_records()
    sheet = detection_sheet(plan, records.get)
    (line,) = sheet.lines
    assert line.names == {"dataset": "d", "method": "moco", "attack": "patch", "defense": "filter"}
    assert line.seeds == (0, 1)
    assert line.values["detection/recall"].values == (0.5, 0.75)
    assert line.values["cost/seconds"].values == (10, 11)
    assert line.values["cost/cpu_seconds"].mean == 21
    assert line.values["cost/retraining_seconds"].values == (50,)
    assert line.values["cost/clean_fraction"].mean == 0.1
    assert detection_sheet(plan, lambda _: None).lines == ()


def cost_of(*stages: tuple[Stage, float, float], chain: str) -> dict[str, float]:
    """Return the costs of a cell, of its stages with the seconds and the clean share of each."""
    keys = tuple(stage.key for stage, *_ in stages)
    name = CellName("d", "patch", "moco", chain, "knn", 0)
    plan = Plan("b", {stage.key: stage for stage, *_ in stages}, (Cell(name, keys, None),))
    records = {
        stage.key: record(
            stage.key,
            stage,
            metadata=replace(METADATA[stage.kind], clean_fraction=share),
            wall_s=seconds,
            cpu_s=2 * seconds,
            peak_mem_gib=seconds / 10,
        )
        for stage, seconds, share in stages
    }
    (line,) = detection_sheet(plan, records.get).lines
    return {
        name.removeprefix("cost/"): value.mean
        for name, value in line.values.items()
        if name.startswith("cost/")
    }


def chain(poison: dict[str, str]) -> tuple[Stage, ...]:
    """Return a training, a defense that drops images, the next training, an inspection, a repair;
    a defense wraps the trainings.
    """
    use = PluginUse("defense", "filter", "d", 1, {}, {})
    first = Stage(StageKind.PRETRAIN, use, 0, poison, guard=use)
    drops = Stage(StageKind.SANITIZE, use, 0, {"encoder": first.key, **poison})
    again = Stage(StageKind.PRETRAIN, use, 0, {"sanitize": drops.key, **poison}, guard=use)
    looks = Stage(StageKind.INSPECT, use, 0, {"encoder": again.key})
    mends = Stage(StageKind.REPAIR, use, 0, {"encoder": again.key, "inspect": looks.key})
    return first, drops, again, looks, mends


def test_the_cost_of_a_chain_is_that_of_all_its_defenses():
    seconds, shares = (1.0, 2.0, 40.0, 8.0, 16.0), (0.1, 0.3, 0.1, 0.05, 0.2)
    without = zip(chain({}), seconds, shares, strict=True)
    found = {"seconds": 27, "cpu_seconds": 54, "peak_gib": 1.6, "retraining_seconds": 40}
    assert cost_of(*without, chain="guard+filter+mend") == {**found, "clean_fraction": 0.3}
    poisoned = zip(chain({"poison": "p"}), seconds, shares, strict=True)
    costs = cost_of(*poisoned, chain="guard+filter+mend")
    assert costs == {**found, "clean_fraction": pytest.approx(0.3 + 0.2)}


def test_a_chain_has_no_cost_before_all_its_defenses_have_acted():
    stages = chain({})
    keys = tuple(stage.key for stage in stages)
    name = CellName("d", "patch", "moco", "guard+filter+mend", "knn", 0)
    plan = Plan("b", dict(zip(keys, stages, strict=True)), (Cell(name, keys, None),))
    scored = SanitizeRecord(6, 3, 0.1, {"detection/recall": 0.5})
    records = {stage.key: record(stage.key, stage) for stage in stages[:-1]}
    records[keys[1]] = record(keys[1], stages[1], metadata=scored)
    (line,) = detection_sheet(plan, records.get).lines
    assert line.values["detection/recall"].mean == 0.5
    assert not any(one.startswith("cost/") for one in line.values)


def test_an_attack_that_reads_an_encoder_makes_no_retraining():
    use = PluginUse("defense", "filter", "d", 1, {}, {})
    clean = Stage(StageKind.PRETRAIN, use, 0)
    trained = Stage(StageKind.PRETRAIN, use, 0, {"poison": "p"})
    mends = Stage(StageKind.REPAIR, use, 0, {"encoder": trained.key})
    costs = cost_of((clean, 50, 0), (trained, 50, 0), (mends, 10, 0.2), chain="mend")
    assert costs == {"seconds": 10, "cpu_seconds": 20, "peak_gib": 1, "clean_fraction": 0.2}


@pytest.mark.parametrize("style", ["table", "markdown", "latex"])
def test_text(style: str):
    plan, records = plan_and_records()
    text = printed(detection_sheet(plan, records.get), style)
    assert ".625" in text
    assert "Recall" in text
    assert "AUROC" not in text.partition("detection:")[0]  # no line has it


def test_json_and_csv():
    plan, records = plan_and_records()
    sheet = detection_sheet(plan, records.get)
    (row,) = json.loads(printed(sheet, "json"))["rows"]
    assert row["metrics"]["detection/recall"]["values"] == [0.5, 0.75]
    assert row["defense"] == "filter"
    (line,) = csv.DictReader(io.StringIO(printed(sheet, "csv")))
    assert float(line["detection/recall:mean"]) == 0.625
    assert line["n"] == "2"


def defended(
    defense: str,
    *,
    controls: dict[str, Any] | None = None,
    **values: Sequence[float] | dict[int, float],
) -> Row:
    metrics = {"acc": "accuracy/clean", "asr": "asr", "triggered": "accuracy/triggered"}
    found = {metrics[name]: numbers for name, numbers in values.items()}
    return row(found, controls, defense=defense, planned=3)


def traded(*rows: Row) -> tuple[Line, ...]:
    return trade_off_sheet(Leaderboard("b", COLUMNS, rows)).lines


def test_trade_off_is_paired_by_seed():
    bare = defended("none", acc=(0.9, 0.8, 0.1), asr=(0.5, 0.7, 0.1), triggered=(0.3, 0.3, 0))
    healed = defended(
        "filter", acc=(0.8, 0.8), asr=(0.1, 0.2), triggered=(0.5, 0.7), controls={"asr": (0.1, 0.1)}
    )
    (line,) = traded(bare, healed)
    assert line.seeds == (0, 1)
    assert line.values["trade/accuracy_lost"].values == pytest.approx((0.1, 0))
    assert line.values["trade/asr_removed"].values == pytest.approx((0.4, 0.5))
    assert line.values["trade/triggered_gained"].values == pytest.approx((0.2, 0.4))
    assert line.values["trade/asr_left"].values == pytest.approx((0.1, 0.2))
    assert line.values["trade/asr_lift_left"].values == pytest.approx((0, 0.1))


def test_all_numbers_of_a_trade_off_are_of_the_seeds_that_it_counts():
    bare = defended("none", acc=(0.9, 0.9), asr=(0.8, 0.8))
    healed = defended("filter", acc=(0.9, 0.9, 0.9), asr=(0.1, 0.1, 0.7))
    (line,) = traded(bare, healed)
    assert line.seeds == (0, 1)
    assert line.values["trade/asr_left"].values == (0.1, 0.1)
    assert {one.n for one in line.values.values()} == {2}


def test_a_missing_control_does_not_hide_the_lift_of_the_other_seeds():
    bare = defended("none", acc=[0.9] * 3, asr=[0.8] * 3)
    healed = defended(
        "filter", acc=[0.9] * 3, asr=(0.3, 0.4, 0.5), controls={"asr": {0: 0.1, 2: 0.1}}
    )
    (line,) = traded(bare, healed)
    assert line.seeds == (0, 2)
    assert line.values["trade/asr_lift_left"].values == pytest.approx((0.2, 0.4))
    assert line.values["trade/asr_left"].values == (0.3, 0.5)
    (uncontrolled,) = traded(bare, replace(healed, samples={"asr": healed.samples["asr"]}))
    assert uncontrolled.seeds == (0, 1, 2)


def test_no_trade_without_an_undefended_row():
    healed = defended("filter", acc=(0.8,), asr=(0.1,), triggered=(0.5,))
    assert traded(healed) == ()
    assert traded(healed, defended("none", acc={1: 0.8}, asr={1: 0.1})) == ()
