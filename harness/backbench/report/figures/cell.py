"""All figures of a cell: what is there is drawn, the rest has a reason."""

from __future__ import annotations

from collections.abc import Iterator

from backbench.model import Cell
from backbench.report.figures.curves import curve_figures
from backbench.report.figures.detectors import detector_figures
from backbench.report.figures.evaluations import evaluation_figures
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.maps import map_figures
from backbench.report.figures.neighbors import neighbor_figures
from backbench.report.figures.opened import Opened
from backbench.report.figures.poisons import poison_figures, trigger_figures
from backbench.report.figures.saliency import saliency_figures
from backbench.report.figures.views import view_figures

#: In the order of the page: what is attacked, how it was trained, what came of it.
_OF_A_CELL = (
    trigger_figures,
    poison_figures,
    view_figures,
    curve_figures,
    map_figures,
    neighbor_figures,
    saliency_figures,
    detector_figures,
)


def cell_figures(opened: Opened, cell: Cell, *, variant: str = "") -> Iterator[Figure | Missing]:
    """Yield the figures of a cell, each with a name of its own.

    Figures of a poison or of encoders are made once: the cells that share them get equal files.
    So it is called for the cells of one encoder one after another.

    Args:
        opened: Store or bundle.
        cell: The cell, of one seed: usually the first.
        variant: Variant of its evaluator (``k=1``); by default the first.
    """
    for figures in _OF_A_CELL:
        yield from figures(opened, cell)
    yield from evaluation_figures(opened, cell, variant)
