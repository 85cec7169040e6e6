"""Predict the classes of the validation images, with and without the trigger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbench.errors import ResultError
from backbench.metrics import at, class_table, confusion_matrix
from backbench.model import VARIANT_NAME
from backbench.plugin import Scores
from backbench.results.published_csv import per_class_csv
from backbench.stages.checks import check_trigger
from backbench.stages.evaluators import Evaluation, encoder_of, evaluation_of, restored
from backbench.stages.scores import checked_scores, rounded
from backbench.stages.task import Outcome, Task
from backbench.store.flags import Flag
from backbench.store.metadata import EvaluationRecord, FitRecord
from backbench.store.predictions import PREDICTIONS, write_predictions
from backbench.system.json_text import to_json

_VARIANT = re.compile(VARIANT_NAME, re.ASCII)

#: Scores of N images, (N, classes), by variant.
_Scores = Mapping[str, NDArray[np.float32]]


def run(task: Task) -> Outcome:
    """Write per-image predictions, confusion matrices and per-class counts."""
    evaluation = evaluation_of(task)
    if not restored(task, evaluation):
        evaluation.fit()
    versions = ("clean",) if evaluation.poison is None else ("clean", "triggered")
    scores = {version: _by_variant(evaluation.predict(version)) for version in versions}
    if scores[versions[-1]].keys() != scores["clean"].keys():
        raise ResultError("the evaluator gave the scores of other variants for triggered images")
    labels = evaluation.labels()
    if evaluation.poison is not None:
        check_trigger(task, evaluation.poison, evaluation.target, labels, evaluation.classes)
    predicted = _write_predictions(task, scores, labels, len(evaluation.classes))
    _write_tables(task, evaluation, labels, predicted)
    metadata = EvaluationRecord(
        target=evaluation.target,
        images=len(labels),
        classes=len(evaluation.classes),
        variants=tuple(name for name in predicted if name),
        protocol=dict(task.stage.given.get("protocol", {})),
    )
    return Outcome(metadata, _flags(task, evaluation))


def _write_predictions(
    task: Task, scores: Mapping[str, _Scores], labels: NDArray[np.int64], classes: int
) -> dict[str, dict[str, NDArray[np.int64]]]:
    """Write scores and predictions of N images; return the predictions, by variant and version.

    Args:
        task: The stage.
        scores: Scores by version, ``clean`` or ``triggered``, and variant.
        labels: Class index of each image, (N,).
        classes: Number of classes.
    """
    predicted: dict[str, dict[str, NDArray[np.int64]]] = {}
    tensors: dict[str, NDArray[Any]] = {"labels": labels}
    for version, by_variant in scores.items():
        for name, given in by_variant.items():
            who = f"the evaluator ({at(version, name)})"
            table = checked_scores(given, (len(labels), classes), who)
            found = table.argmax(axis=1)
            predicted.setdefault(name, {})[version] = found
            tensors[at(f"{version}_scores", name)] = rounded(table)
            tensors[at(f"{version}_predictions", name)] = found.astype(np.int32)
    write_predictions(task.folder / PREDICTIONS, tensors)
    return predicted


def _write_tables(
    task: Task,
    evaluation: Evaluation,
    labels: NDArray[np.int64],
    predicted: Mapping[str, Mapping[str, NDArray[np.int64]]],
) -> None:
    """Write confusion matrices, and the published table of true and false positives."""
    classes = evaluation.classes
    tables: dict[str, Any] = {}
    for name, found_on in predicted.items():
        confusions = {
            version: confusion_matrix(labels, found, len(classes))
            for version, found in found_on.items()
        }
        for version, confusion in confusions.items():
            tables[at(version, name)] = class_table(confusion)
        text = per_class_csv(
            classes,
            confusions["clean"],
            confusions.get("triggered"),
            model=evaluation.encoder,
            data=evaluation.poison or "",
        )
        file = task.folder / (f"classes_{name}.csv" if name else "classes.csv")
        file.write_text(text, encoding="utf-8")
    text = to_json(tables, "classes.json") + "\n"
    (task.folder / "classes.json").write_text(text, encoding="utf-8")


def _flags(task: Task, evaluation: Evaluation) -> tuple[Flag, ...]:
    """Flag an imported classifier, unless it was fitted on this encoder."""
    fit, encoder = task.record("fit").of(FitRecord), task.store.record(evaluation.encoder)
    if not fit.source or (encoder and fit.fitted_on.get("sha256") == encoder_of(encoder)["sha256"]):
        return ()
    whose = f"another encoder ({fit.fitted_on['label']})" if fit.fitted_on else "an unknown encoder"
    return (Flag("classifier", f"{fit.source} was fitted on the features of {whose}"),)


def _by_variant(scores: Scores) -> _Scores:
    """Return the scores of each variant; a single result has an empty name."""
    if not isinstance(scores, Mapping):
        return {"": scores}
    for name in scores:
        if not _VARIANT.fullmatch(str(name)):
            raise ResultError(
                f"a variant is called {name!r}: use letters, digits and any of . = + -"
            )
    if not scores:
        raise ResultError("the evaluator gave the scores of no variant")
    return scores
