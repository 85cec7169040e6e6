"""Rows that enter no comparison are left out of the tables made of a leaderboard, which say so."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from backbench.errors import UsageError
from backbench.report.defenses import trade_off_sheet
from backbench.report.heat_map import print_map
from backbench.report.html.leaderboard import sheet_table
from backbench.report.sheet import Sheet, print_sheet
from backbench.report.sweeps import sweep_sheet
from backbench.results.leaderboard import COLUMNS, Leaderboard, Row
from tests.factories import row

SWEPT: list[dict[str, Any]] = [
    {"attack": f"patch@rate-{rate}", "defense": defense}
    for rate in (0.25, 0.5)
    for defense in ("none", "distill")
]
SHEETS = pytest.mark.parametrize("sheet_of", [trade_off_sheet, sweep_sheet])


def rows(asr: float, **more: Any) -> list[Row]:
    """Return rows that have a trade-off and a sweep."""
    return [
        row({"accuracy/clean": [0.9] * 2, "asr": [asr] * 2}, **names, **more) for names in SWEPT
    ]


def board(*rows: Row) -> Leaderboard:
    return Leaderboard("bench", COLUMNS, rows)


OURS = board(*rows(0.5))
WITH_THEIRS = board(*OURS.rows, *rows(0.25, origin="theirs.zip"))
WITH_OUTDATED = board(*OURS.rows[1:], replace(OURS.rows[0], outdated="moco revision 1, now 2"))


def printed(sheet: Sheet, style: str) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_sheet(sheet, style, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def mapped(board: Leaderboard) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    print_map(board, "asr", console)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@SHEETS
def test_rows_of_an_imported_bundle_do_not_replace_ours(
    sheet_of: Callable[[Leaderboard], Sheet],
) -> None:
    sheet = sheet_of(WITH_THEIRS)
    assert sheet.lines == sheet_of(OURS).lines
    assert sheet.remarks == ("left out: 4 rows, imported: theirs.zip",)


def test_a_heat_map_has_our_numbers_alone() -> None:
    *lines, remark = mapped(WITH_THEIRS)
    assert lines == mapped(OURS)
    assert remark == "left out: 4 rows, imported: theirs.zip"


@SHEETS
def test_outdated_rows_are_compared_with_no_others(
    sheet_of: Callable[[Leaderboard], Sheet],
) -> None:
    sheet = sheet_of(WITH_OUTDATED)
    assert len(sheet.lines) == len(sheet_of(OURS).lines) / 2
    assert sheet.remarks == ("left out: 1 row, outdated: moco revision 1, now 2",)


def test_a_heat_map_has_no_outdated_numbers() -> None:
    outdated = board(*(replace(one, outdated="moco revision 1, now 2") for one in OURS.rows))
    with pytest.raises(UsageError, match="has this metric; left out: 4 rows, outdated: moco rev"):
        mapped(outdated)


@SHEETS
@pytest.mark.parametrize("style", ["table", "json", "csv", "markdown", "latex", "html"])
def test_every_form_says_that_numbers_are_rescored(
    sheet_of: Callable[[Leaderboard], Sheet], style: str
) -> None:
    said = "rescored: ASR of all images"
    assert said not in printed(sheet_of(OURS), style)
    text = printed(sheet_of(replace(OURS, rescored=said)), style)
    assert said in text
    if style == "json":
        assert json.loads(text)["remarks"] == [said]
    if style == "csv":
        assert {line["remarks"] for line in csv.DictReader(io.StringIO(text))} == {said}


def test_a_heat_map_and_the_page_say_that_numbers_are_rescored() -> None:
    rescored = replace(OURS, rescored="rescored: ASR of all images")
    assert mapped(rescored)[-1] == rescored.rescored
    table = sheet_table(trade_off_sheet(rescored), "")
    assert table.notes[0] == rescored.rescored


def test_a_table_without_lines_says_what_was_left_out() -> None:
    theirs = board(*rows(0.5, origin="theirs.zip"))
    with pytest.raises(UsageError, match="no defense beside none; left out: 4 rows, imported: th"):
        printed(trade_off_sheet(theirs), "table")
