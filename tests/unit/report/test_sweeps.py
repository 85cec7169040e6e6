"""Sweeps: rows that differ in one swept option, as a table, with interval and control."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from backbench.errors import UsageError
from backbench.report.figures.sweeps import sweep_figures
from backbench.report.sheet import print_sheet
from backbench.report.sweeps import sweep_sheet, sweeps_in
from backbench.results.leaderboard import COLUMNS, Leaderboard
from tests.unit.report.figures.test_sweeps import ROWS, row


def test_rows_of_a_swept_option_are_a_sweep_by_rising_value() -> None:
    (sweep,) = sweeps_in(ROWS)
    assert sweep.option == "attack.rate.value"
    assert [point.value for point in sweep.points] == [0.25, 0.5]
    assert "patch" in sweep.others


def test_of_two_swept_options_each_has_sweeps() -> None:
    names = [f"p@a-{a}@b-{b}" for a in (1, 2) for b in (1e-05, 0.1)]
    sweeps = sweeps_in([row(name, 0.5) for name in names])
    assert sorted(sweep.option for sweep in sweeps) == ["attack.a"] * 2 + ["attack.b"] * 2
    assert {point.value for sweep in sweeps for point in sweep.points} == {1, 2, 1e-05, 0.1}


def test_the_table_has_the_numbers_of_the_figure() -> None:
    sheet = sweep_sheet(Leaderboard("b", COLUMNS, tuple(ROWS)))
    (figure,) = sweep_figures(ROWS)
    means = [
        (line.names["value"], *(f"{line.values[one].mean:.3f}" for one in ("asr", "control/asr")))
        for line in sheet.lines
    ]
    assert means == [(one[0], one[2], one[4]) for one in figure.rows]
    assert {line.names["option"] for line in sheet.lines} == {"attack.rate.value"}


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    sheet = sweep_sheet(Leaderboard("b", COLUMNS, tuple(ROWS)))
    print_sheet(sheet, "json")
    found = json.loads(capsys.readouterr().out)["rows"]
    assert [one["metrics"]["asr"]["mean"] for one in found] == [0.25, 0.5]
    print_sheet(sheet, "table", Console(width=100))
    assert "attack.rate.value" in capsys.readouterr().out


def test_without_a_sweep_there_is_a_sentence() -> None:
    with pytest.raises(UsageError, match="no two finished rows differ in one swept option"):
        print_sheet(sweep_sheet(Leaderboard("b", COLUMNS, ())), "table")
