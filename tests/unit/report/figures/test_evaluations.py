"""Figures of an evaluation name the variant of its evaluator that they are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backbench.model import Cell, CellName, Plan, Stage, StageKind
from backbench.plugin.registry import Registry
from backbench.report.figures.evaluations import evaluation_figures
from backbench.report.figures.figure import Figure
from backbench.report.figures.opened import Opened
from backbench.store.metadata import EvaluationRecord
from backbench.store.predictions import write_predictions
from tests.factories import record

LABELS = np.array([0, 1, 2])


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """Return a cell whose evaluator has two variants, of which the second is always right."""
    data = Stage(StageKind.DATASET, None, None)
    last = Stage(StageKind.PREDICT, None, 0, {"dataset": data.key})
    name = CellName("d", "none", "moco", "none", "knn", 0)
    plan = Plan("b", {data.key: data, last.key: last}, (Cell(name, (data.key, last.key), None),))
    variants = EvaluationRecord(None, 3, 3, variants=("k=1", "k=50"))
    records = {
        data.key: record(data.key, data),
        last.key: record(last.key, last, metadata=variants),
    }
    predictions = {"labels": LABELS, "clean_predictions@k=1": np.zeros(3, int)}
    predictions |= {"clean_predictions@k=50": LABELS}
    write_predictions(tmp_path / "p.npz", predictions)
    file = str(tmp_path / "p.npz")
    return Opened(plan, records.get, lambda _: file, lambda *_: None, Registry())


@pytest.mark.parametrize(
    ("asked", "shown", "right"), [("", "k=1", "0.333"), ("k=50", "k=50", "1.000")]
)
def test_a_figure_names_its_variant(opened: Opened, asked: str, shown: str, right: str) -> None:
    (cell,) = opened.plan.cells
    figures = [one for one in evaluation_figures(opened, cell, asked) if isinstance(one, Figure)]
    assert [one.title for one in figures] == [
        f"Confusion matrix, clean images, {shown}",
        f"False positives by class, {shown}",
    ]
    end = shown.replace("=", "-")
    assert [one.name for one in figures] == [f"confusion-clean-{end}", f"false-positives-{end}"]
    assert figures[0].alternative.startswith(f"{shown}: ")
    assert f"accuracy {right}" in figures[0].alternative
