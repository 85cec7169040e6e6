"""The figures of a run that its trackers get: those for which no encoder runs, as files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from backbench.model import NONE, Cell
from backbench.report.figures.curves import curve_figures
from backbench.report.figures.detectors import detector_figures
from backbench.report.figures.evaluations import evaluation_figures
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.opened import Opened
from backbench.report.figures.poisons import poison_figures, trigger_figures
from backbench.report.figures.whole_table import table_figures
from backbench.results.leaderboard import Leaderboard

#: Figures are made of so many cells, the first: those of the others are in the report.
MOST_CELLS: Final = 16

_OF_A_CELL: Final = (
    trigger_figures,
    poison_figures,
    curve_figures,
    detector_figures,
    evaluation_figures,
)

#: Characters that a name of a file does not get.
_ODD: Final = re.compile(r"[^\w.+=-]+")


def stored_files(opened: Opened, board: Leaderboard) -> dict[str, bytes]:
    """Draw the figures of a table and of its first cells; equal files are there once.

    Returns:
        The files by name: ``intervals-asr.svg``, ``drawn-byol-patch-knn.training-curves.svg``.
    """
    named = {figure.image: name for name, figure in reversed([*_drawn(opened, board)])}
    return {f"{name}.svg": image for image, name in reversed(named.items())}


def _drawn(opened: Opened, board: Leaderboard) -> Iterator[tuple[str, Figure]]:
    with suppress(Exception):  # the run is over and well: no figure may make it fail
        for figure in _figures(table_figures(opened, board)):
            yield figure.name, figure
    for cell in _cells(opened)[:MOST_CELLS]:
        names = "-".join(name for name in cell.name.row.values() if name != NONE)
        for figures in _OF_A_CELL:
            with suppress(Exception):
                for figure in _figures(figures(opened, cell)):
                    yield f"{_ODD.sub('-', names)}.{figure.name}", figure


def _figures(found: Iterator[Figure | Missing]) -> Iterator[Figure]:
    return (one for one in found if isinstance(one, Figure))


def _cells(opened: Opened) -> list[Cell]:
    """Return the cells that have been evaluated, each of its first seed."""
    first: dict[tuple[str, ...], Cell] = {}
    for cell in opened.plan.cells:
        if opened.record_of(cell.evaluation) is not None:
            first.setdefault(tuple(cell.name.row.values()), cell)
    return list(first.values())
