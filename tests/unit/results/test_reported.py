"""Figures that others have published: beside the rows that they are of, ranked nowhere."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tests import factories

from backbench.benchmark.config import benchmark_from
from backbench.benchmark.planning import make_plan
from backbench.benchmark.reported.figures import reported_sources
from backbench.benchmark.reproductions.published import add_stand_in, fill, find_reproduction
from backbench.model import Plan
from backbench.plugin.registry import load_registry
from backbench.report.tables import as_json, comma_separated, latex, markdown, print_board
from backbench.results.leaderboard import Leaderboard
from backbench.results.ranking import extremes
from backbench.results.reported import add_reported

ASR = {"byol": 0.702, "moco-v2": 0.576, "simclr": 0.339, "simsiam": 0.622}


def plan_of(text: str) -> Plan:
    registry = load_registry()
    add_stand_in(registry)
    benchmark = benchmark_from(
        tomllib.loads(text), source="full", folder=Path.cwd(), registry=registry
    )
    return make_plan(benchmark, {"imagenet100": "counts"})


@pytest.fixture(scope="module")
def text() -> str:
    return fill(find_reproduction("saha2022", "full"), stand_in=True)


@pytest.fixture(scope="module")
def plan(text: str) -> Plan:
    return plan_of(text)


def board_of(plan: Plan) -> Leaderboard:
    """Make up records: every encoder is perfect, and falls to no trigger."""

    metrics = {"accuracy/clean": 1.0, "accuracy/triggered": 1.0, "asr": 0.0}
    records = {key: factories.record(key, metrics=metrics) for key in plan.stages}
    return factories.board(plan, records)


def test_only_rows_that_measure_the_same_have_figures(plan: Plan) -> None:
    board = add_reported(board_of(plan), plan)
    found = {
        tuple(row.names[field] for field in ("method", "attack", "defense", "evaluator")): {
            metric: figure.value for metric, figure in row.reported.items()
        }
        for row in board.rows
        if row.reported
    }
    assert found == {
        ("byol", "lorikeet-14", "none", "linear-10pct"): {
            "accuracy/clean": 0.6638,
            "accuracy/triggered": 0.2382,
            "asr": 0.702,
        },
        ("moco-v2", "lorikeet-14", "none", "linear-10pct"): {
            "accuracy/clean": 0.6628,
            "accuracy/triggered": 0.3324,
            "asr": 0.576,
        },
        ("simclr", "lorikeet-14", "none", "linear-10pct"): {
            "accuracy/clean": 0.709,
            "accuracy/triggered": 0.491,
            "asr": 0.339,
        },
        ("simsiam", "lorikeet-14", "none", "linear-10pct"): {
            "accuracy/clean": 0.6448,
            "accuracy/triggered": 0.293,
            "asr": 0.622,
        },
    }


def test_an_attack_on_the_encoder_has_its_figures_by_its_options() -> None:
    plan = plan_of(fill(find_reproduction("jia2022", "full"), stand_in=True))
    found = {
        (row.names["attack"], row.names["evaluator"]): row.reported
        for row in add_reported(board_of(plan), plan).rows
        if row.reported
    }
    assert {
        names: {metric: figure.value for metric, figure in figures.items()}
        for names, figures in found.items()
    } == {
        ("badencoder", "linear-10pct"): {"accuracy/clean": 0.62, "asr": 0.841},
        ("drupe", "linear-10pct"): {"accuracy/clean": 0.593, "asr": 0.998},
    }
    settings = [one.setting for figures in found.values() for one in figures.values()]
    assert all("are not stated" in setting for setting in settings)


def test_figures_change_no_number_and_no_rank(plan: Plan) -> None:
    before = board_of(plan)
    after = add_reported(before, plan)
    assert extremes(after) == extremes(before)
    assert [replace(row, reported={}) for row in after.rows] == list(before.rows)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('protocol = "saha2022-in100@1"', ""),
        ('target = "n01820546"', 'target = "n01558993"'),
        ('rate = { of = "count", value = 650 }', 'rate = { of = "count", value = 600 }'),
    ],
    ids=["another protocol", "another target", "another rate"],
)
def test_what_is_not_the_same_has_none(text: str, old: str, new: str) -> None:
    changed = text.replace(old, new)
    assert changed != text
    if not new:  # without the card, its evaluators must be given
        changed += '[evaluators.linear-1pct]\nplugin = "linear"\nlabel_fraction = 0.01\n'
        changed += '[evaluators.linear-10pct]\nplugin = "linear"\nlabel_fraction = 0.1\n'
    plan = plan_of(changed)
    board = add_reported(board_of(plan), plan)
    assert not any(row.reported for row in board.rows)


def test_the_setting_tells_another_trigger(plan: Plan, text: str, tmp_path: Path) -> None:
    def settings(plan: Plan) -> set[str]:
        board = add_reported(board_of(plan), plan)
        return {one.setting for row in board.rows for one in row.reported.values()}

    (made,) = settings(plan)
    assert made.endswith("; our trigger is another")
    source = reported_sources()["ssl-backdoor-library"]
    figure = source.figures[0]
    assert figure.row is not None
    stages = {
        key: replace(
            stage,
            plugin=replace(
                stage.plugin,
                options={**stage.plugin.options, "trigger_sha256": figure.row.trigger_sha256},
            ),
        )
        if stage.plugin and stage.plugin.kind == "attack"
        else stage
        for key, stage in plan.stages.items()
    }
    (published,) = settings(replace(plan, stages=stages))
    assert published == figure.setting
    assert source.title.count("https://") == 1


def test_every_form_shows_figure_and_source(plan: Plan) -> None:
    board = add_reported(board_of(plan), plan)
    rows = tuple(row for row in board.rows if row.names["attack"] == "lorikeet-14")
    board = replace(board, rows=rows)
    out = io.StringIO()
    print_board(board, "table", "evaluator", Console(file=out, width=300))
    parts = out.getvalue().split("saha2022-full · evaluator ")
    table = next(part for part in parts if part.startswith("linear-10pct"))
    assert "reported" in table
    assert ".576 [1]" in table
    assert "[1] jsrdcht/SSL-Backdoor, README.md at commit 1dfc35f" in " ".join(table.split())
    for part in parts[1:]:
        assert ("reported" in part) == part.startswith("linear-10pct")

    assert ".702 [1]" in markdown(board)
    assert "\n\n\\[1\\] jsrdcht" in markdown(board)
    assert r"10 \% of the labels" in latex(board)
    lines = list(csv.DictReader(io.StringIO(comma_separated(board))))
    assert {line["asr:reported"] for line in lines} == {"", "0.339", "0.576", "0.622", "0.702"}
    told = [row["reported"] for row in json.loads(as_json(board))["rows"] if row["reported"]]
    assert sorted(one["asr"]["value"] for one in told) == sorted(ASR.values())


def test_a_board_without_figures_is_as_it_was(plan: Plan) -> None:
    board = replace(board_of(plan), rows=board_of(plan).rows[:4])
    for text in (markdown(board), latex(board), comma_separated(board)):
        assert "reported" not in text
