"""Fit a classifier on clean training images, once for all triggers; or import one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from backbench.errors import BackbenchError, StageError
from backbench.stages.evaluators import CLASSIFIER, encoder_of, evaluation_of
from backbench.stages.scores import checked_report, checked_selection, checked_state
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import FitRecord
from backbench.store.store import Store


def run(task: Task) -> Outcome:
    """Write the classifier, if the evaluator has one that can be stored.

    A stage with content imports a classifier: the content is the SHA-256 of its file.
    """
    if task.stage.content:
        return _import(task)
    evaluation = evaluation_of(task)
    evaluation.fit()
    state = checked_state(evaluation.evaluator.state(), "the evaluator")
    if state:
        save_file(state, task.folder / CLASSIFIER, _mark(task))
    selection = checked_selection(evaluation.evaluator.selection(), "the evaluator")
    report = checked_report(evaluation.evaluator.report(), "the evaluator")
    return Outcome(FitRecord(selection), report=report)


def _mark(task: Task) -> dict[str, str] | None:
    """Return the header of the file: the mark of a backdoored encoder, which may be part of it."""
    if not task.has("encoder"):  # features say nothing of how to compute them
        return None
    from backbench.nn.encoder import MARK, mark_of, weights_in

    mark = mark_of(weights_in(task.input("encoder")))
    return {MARK: mark} if mark else None


def _import(task: Task) -> Outcome:
    path = Path(task.stage.given["classifier"]["path"])
    try:
        content = path.read_bytes()
        load(content)
    except (OSError, SafetensorError) as error:
        raise StageError(f"{path} cannot be read as a classifier: {error}") from error
    if hashlib.sha256(content).hexdigest() != task.stage.content:
        raise StageError(f"{path} has changed since the evaluation was planned: run again")
    (task.folder / CLASSIFIER).write_bytes(content)
    return Outcome(FitRecord(source=path.name, fitted_on=_fitted_on(path, task.stage.content)))


def _fitted_on(path: Path, sha256: str) -> Mapping[str, str]:
    """Return the encoder that a classifier was fitted on, where it lies in a store."""
    folder = path.resolve().parent
    if folder.parent.name != "artifacts":
        return {}
    try:
        store = Store(folder.parent.parent)
        record = store.record(folder.name)
        if record is None or record.files[CLASSIFIER]["sha256"] != sha256:
            return {}
        features = store.record(record.stage.inputs.get("clean", ""))
        encoder = store.record((features or record).stage.inputs["encoder"])
        return {} if encoder is None else encoder_of(encoder)
    except (BackbenchError, KeyError):
        return {}
