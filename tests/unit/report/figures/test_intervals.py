"""Intervals of a table: each row's mean, ends and control."""

from __future__ import annotations

from backbench.report.figures.intervals import MOST_ROWS, interval_figures
from tests.unit.report.figures.drawn import checked, texts
from tests.unit.report.figures.test_sweeps import row


def test_a_figure_has_the_mean_interval_and_control_of_each_row() -> None:
    figure = checked(lambda: next(interval_figures([row("patch", 0.5, 0.125), row("ctrl", 0.25)])))
    assert figure.rows == (
        ("patch · x · x", "3", "0.500", "[0.450, 0.550]", "0.125"),
        ("ctrl · x · x", "3", "0.250", "[0.200, 0.300]", "–"),
    )
    assert "highest 0.500, of patch" in figure.alternative


def test_of_a_long_table_the_first_rows_are_drawn() -> None:
    rows = [row(f"p{number}", 0.5) for number in range(MOST_ROWS + 1)]
    figure = next(interval_figures(rows))
    assert len(figure.rows) == MOST_ROWS + 1
    assert f"p{MOST_ROWS - 1} · x · x" in texts(figure)
    assert f"p{MOST_ROWS} · x · x" not in texts(figure)
