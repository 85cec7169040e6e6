"""All figures of a cell: from what is in the store or the bundle; a reason for each other."""

from __future__ import annotations

from collections.abc import Iterator

from backbench.model import Cell
from backbench.report.figures.evaluations import evaluation_figures
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.opened import Opened

Drawn = Iterator[Figure | Missing]


def cell_figures(opened: Opened, cell: Cell, *, variant: str = "") -> Drawn:
    """Yield the figures of a cell, each with a name of its own.

    Those of its poison and of its encoder are made once and kept: call it for the cells of one
    encoder one after another.

    Args:
        opened: Store or bundle.
        cell: The cell, of one seed: usually the first.
        variant: Variant of its evaluator (``k=1``); by default the first.
    """
    yield from evaluation_figures(opened, cell, variant)
