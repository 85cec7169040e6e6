"""Fit a classifier on clean training images, once for all triggers; or import one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from backbench.errors import StageError
from backbench.stages.evaluators import CLASSIFIER, evaluation_of
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import FitRecord


def run(task: Task) -> Outcome:
    """Write the classifier, if the evaluator has one that can be stored.

    A stage with content imports a classifier: the content is the SHA-256 of its file.
    """
    if task.stage.content:
        return _import(task)
    evaluation = evaluation_of(task)
    evaluation.fit()
    state = evaluation.evaluator.state()
    if state:
        arrays = {name: np.array(array, order="C") for name, array in state.items()}
        save_file(arrays, task.folder / CLASSIFIER)
    return Outcome(metadata=FitRecord(dict(evaluation.evaluator.selection())))


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
    return Outcome(metadata=FitRecord(source=path.name))
