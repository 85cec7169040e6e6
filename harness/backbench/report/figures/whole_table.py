"""The figures of a whole table."""

from __future__ import annotations

from collections.abc import Iterator

from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.intervals import interval_figures
from backbench.report.figures.opened import Opened
from backbench.report.figures.sweeps import sweep_figures
from backbench.report.figures.verdicts import verdict_figures
from backbench.results.leaderboard import Leaderboard


def table_figures(opened: Opened, board: Leaderboard) -> Iterator[Figure | Missing]:
    """Yield the figures of a whole table: intervals, sweeps, and verdicts on encoders."""
    yield from interval_figures(board.rows)
    yield from sweep_figures(board.rows)
    yield from verdict_figures(opened)
