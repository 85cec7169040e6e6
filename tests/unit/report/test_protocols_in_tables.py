"""Under every table stands its protocol; rows of different ones are never ranked together."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from backbench.model import Axis
from backbench.report.tables import as_json, comma_separated, latex, markdown, print_board
from backbench.results.filtering import group, select
from backbench.results.leaderboard import COLUMNS, Leaderboard, Row
from backbench.results.ranking import extremes
from backbench.results.statistics import summarize

NONE = "no protocol: the options are the benchmark file's own"


def row(protocol: str, method: str, accuracy: float, evaluator: str = "linear") -> Row:
    names = dict(
        zip(map(str, Axis), ("set", "none", method, "none", "none", evaluator), strict=True)
    )
    values = {"accuracy/clean": summarize([accuracy - 0.001, accuracy, accuracy + 0.001])}
    return Row(names, (0, 1, 2), 3, values, {}, {}, protocol=protocol)


def board(*rows: Row, protocol: str = "") -> Leaderboard:
    return Leaderboard("bench", COLUMNS, rows, protocol)


ONE = board(row("one@1", "byol", 0.5), row("one@1", "moco", 0.6), protocol="one@1")
TWO = board(row("two@1", "byol", 0.8), row("two@1", "moco", 0.9), protocol="two@1")
#: Put together by hand, line by line.
MERGED = replace(ONE, rows=tuple(x for pair in zip(ONE.rows, TWO.rows, strict=True) for x in pair))


def printed(one: Leaderboard, style: str = "table", by: str | None = "evaluator") -> str:
    out = io.StringIO()
    print_board(one, style, by, Console(file=out, width=200))
    return out.getvalue()


@pytest.mark.parametrize("style", ["table", "markdown", "latex"])
def test_the_card_stands_under_the_table(style: str) -> None:
    text = printed(ONE, style)
    assert text.index("moco") < text.index("protocol one@1")
    assert text.count("protocol one@1") == 1
    bare = printed(board(row("", "byol", 0.5)), style)
    assert bare.index("byol") < bare.index(NONE)


def test_every_table_has_its_own() -> None:
    rows = (row("one@1", "byol", 0.5), row("one@1", "byol", 0.6, "knn"))
    assert printed(board(*rows, protocol="one@1")).count("protocol one@1") == 2


@pytest.mark.parametrize("by", ["evaluator", "dataset", None])
def test_merged_rows_get_separate_tables_and_marks(by: str | None) -> None:
    parts = group(MERGED, by)
    assert [part.protocol for _, part in parts] == ["one@1", "two@1"]
    for (_, part), whole in zip(parts, (ONE, TWO), strict=True):
        assert part.rows == whole.rows
        assert extremes(part)["accuracy/clean", "best"] == {1}
    text = printed(MERGED, by=by)
    first, second = text.split("protocol one@1")
    assert "▲" in first
    assert ".600 ±.001 ▲" in first
    assert ".500 ±.001 ▼" in first
    assert ".900 ±.001 ▲" in second
    assert ".800 ±.001 ▼" in second


def test_merged_rows_are_ranked_apart_even_in_one_board() -> None:
    marks = extremes(MERGED)  # byol, byol, moco, moco of one@1, two@1, one@1, two@1
    assert marks["accuracy/clean", "best"] == {2, 3}
    assert marks["accuracy/clean", "worst"] == {0, 1}


def test_a_protocol_with_one_row_has_no_best() -> None:
    marks = extremes(board(row("one@1", "byol", 0.5), row("", "moco", 0.9)))
    assert marks == {}


def test_rows_of_two_evaluators_are_not_ranked_together() -> None:
    mixed = board(
        row("", "byol", 0.5), row("", "byol", 0.7, "knn"), row("", "moco", 0.6), protocol=""
    )
    assert extremes(mixed)["accuracy/clean", "best"] == {2}


def test_sorting_keeps_protocols_apart() -> None:
    rows = select(MERGED, [], "-accuracy/clean").rows
    assert [(one.protocol, one.names["method"]) for one in rows] == [
        ("one@1", "moco"),
        ("one@1", "byol"),
        ("two@1", "moco"),
        ("two@1", "byol"),
    ]
    rows = select(MERGED, [], "method").rows
    assert [one.protocol for one in rows] == ["one@1", "one@1", "two@1", "two@1"]
    assert select(MERGED, ["method=byol"], None).protocol == "one@1"


def test_markdown_and_latex_split_by_protocol() -> None:
    assert markdown(ONE).count("Acc |") == 1
    assert markdown(MERGED).count("Acc |") == 2
    assert markdown(MERGED).split("protocol two@1")[0].count("|--") >= 2
    assert latex(MERGED).count(r"\toprule") == 2


def test_csv_and_json_carry_it_in_every_row() -> None:
    lines = list(csv.DictReader(io.StringIO(comma_separated(MERGED))))
    assert [line["protocol"] for line in lines] == ["one@1", "two@1", "one@1", "two@1"]
    content = json.loads(as_json(MERGED))
    assert [one["protocol"] for one in content["rows"]] == ["one@1", "two@1", "one@1", "two@1"]
    assert json.loads(as_json(ONE))["protocol"] == "one@1"
    assert json.loads(as_json(board(row("", "byol", 0.5))))["protocol"] == ""
