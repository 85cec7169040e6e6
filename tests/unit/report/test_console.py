"""The width of the console."""

from __future__ import annotations

import io

import pytest

from backbench.report.console import make_console


@pytest.mark.parametrize(("columns", "width"), [("0", 80), ("-5", 80), ("abc", 80), ("100", 100)])
def test_a_console_without_columns_prints_all_the_same(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    file = io.StringIO()
    console = make_console(file=file)
    console.print("a line")
    assert file.getvalue() == "a line\n"
    assert console.width == width
