"""The per-class table of the published code, to the character."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backbench.metrics import accuracy, false_positives, true_positives
from backbench.system.escaping import csv_text

Ints = NDArray[np.int64]


def per_class_csv(
    classes: Sequence[str], clean: Ints, triggered: Ints | None, *, model: str, data: str
) -> str:
    """Return TP and FP of each class, clean and triggered, as the published scripts write them.

    Four lines of headings, then a line for each class: ``name,id,TP,FP,,TP,FP``. Accuracies are in
    percent, with two digits; counts are floating-point numbers; a comma in a name becomes a
    semicolon, and a name that a spreadsheet would misread is quoted.

    Args:
        classes: Class names, C.
        clean: Confusion matrix without trigger, (C, C): rows are true classes.
        triggered: The same with the trigger; ``None`` without an attack: its columns are empty.
        model: The text after ``Model``: the key of the encoder's stage.
        data: The text after ``Data``: the key of the poison's stage.

    Source: conf_matrix.csv of the published moco/eval_linear.py and moco/eval_knn.py.
    Differs: Model and Data name stages of a store instead of paths; classes are called as in the
        dataset, of ImageNet by their WordNet ids, where the published scripts look up words; the
        published Jigsaw script writes six digits of the accuracy.
    """
    accuracies = (_percent(clean), "" if triggered is None else _percent(triggered))
    rows: list[list[object]] = [
        [f"Model {model}".replace(",", ";"), "", "Clean val", "", "", "", "Pois. val", "", ""],
        [f"Data {data}".replace(",", ";"), "", "acc1", "", "", "", "acc1", "", ""],
        ["", "", accuracies[0], "", "", "", accuracies[1], "", ""],
        ["class name", "class id", "TP", "FP", "", "TP", "FP"],
    ]
    counts, others = _counts(clean, len(classes)), _counts(triggered, len(classes))
    for index, (name, own, other) in enumerate(zip(classes, counts, others, strict=True)):
        rows.append([name.replace(",", ";"), index, *own, "", *other])
    return csv_text(rows)


def _counts(confusion: Ints | None, classes: int) -> list[tuple[object, object]]:
    """Return TP and FP of each class."""
    if confusion is None:
        return [("", "")] * classes
    pairs = zip(true_positives(confusion), false_positives(confusion), strict=True)
    return [(float(own), float(other)) for own, other in pairs]


def _percent(confusion: Ints) -> str:
    return f"{100 * accuracy(confusion):.2f}"
