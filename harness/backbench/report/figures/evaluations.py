"""Figures of one evaluation: what its stored predictions show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from backbench.errors import StoreError
from backbench.metrics import Ints
from backbench.model import Cell, StageKind
from backbench.report.figures.confusions import confusion_figure, false_positive_figure
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.opened import Opened
from backbench.store.metadata import DatasetRecord, EvaluationRecord
from backbench.store.predictions import read_predictions

TITLE = "Confusion matrices and false positives"


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The predictions of an evaluation, each (N,); ``triggered`` is ``None`` without an attack.

    ``variant`` is the evaluator's variant that they are of; empty where there is only one.
    """

    labels: Ints
    clean: Ints
    triggered: Ints | None
    target: int | None
    variant: str = ""


def evaluation_figures(opened: Opened, cell: Cell, variant: str = "") -> Iterator[Figure | Missing]:
    """Yield confusion matrices and false positives of a cell's evaluation.

    Where its evaluator has variants, each names the one that it is of.
    """
    own = predictions_of(opened, cell.evaluation, variant)
    if own is None:
        yield Missing(TITLE, "The predictions of this cell are missing or damaged.")
        return
    classes = classes_of(opened, cell)
    if len(classes) <= int(max(own.labels.max(initial=0), own.clean.max(initial=0))):
        yield Missing(TITLE, "The predictions are of more classes than the dataset has.")
        return
    control = None if cell.control is None else predictions_of(opened, cell.control, variant)
    found = _figures(own, control, classes)
    yield from (_of_variant(figure, own.variant) for figure in found) if own.variant else found


def _of_variant(figure: Figure, variant: str) -> Figure:
    return replace(
        figure,
        name=f"{figure.name}-{re.sub('[^a-z0-9]+', '-', variant.lower())}",
        title=f"{figure.title}, {variant}",
        alternative=f"{variant}: {figure.alternative}",
    )


def _figures(
    own: Predictions, control: Predictions | None, classes: Sequence[str]
) -> Iterator[Figure]:
    yield confusion_figure(own.labels, own.clean, classes, version="clean", target=own.target)
    named = {"clean": own.clean}
    if own.triggered is not None:
        yield confusion_figure(
            own.labels, own.triggered, classes, version="triggered", target=own.target
        )
        if control is not None and control.triggered is not None:
            named["triggered, control"] = control.triggered
        named["triggered"] = own.triggered
    yield false_positive_figure(own.labels, named, classes, own.target)


def predictions_of(opened: Opened, key: str, variant: str = "") -> Predictions | None:
    """Return the predictions of an evaluation; ``None`` if they are missing or damaged.

    Without a variant, they are those of the evaluator's first one.
    """
    record = opened.record_of(key)
    file = None if record is None else opened.predictions_of(record)
    if record is None or file is None:
        return None
    made = record.of(EvaluationRecord)
    variant = variant or next(iter(made.variants), "")
    try:
        shown = read_predictions(file, variant)
    except StoreError:
        return None
    return Predictions(*shown, made.target, variant)


def classes_of(opened: Opened, cell: Cell) -> tuple[str, ...]:
    """Return the names of the classes of the dataset that a cell is evaluated on."""
    for key in _datasets(opened, cell.evaluation):
        record = opened.record_of(key)
        if record is not None:
            return record.of(DatasetRecord).dataset.classes
    return ()


def _datasets(opened: Opened, key: str) -> Iterator[str]:
    """Yield the datasets that a stage reads, the nearest first."""
    waiting = [key]
    while waiting:
        stage = opened.plan.stages[waiting.pop(0)]
        for role, one in stage.inputs.items():
            if role == "dataset" and opened.plan.stages[one].kind is StageKind.DATASET:
                yield one
        waiting += stage.inputs.values()
