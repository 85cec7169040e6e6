"""Fit a classifier on clean features, and count what it says with and without the trigger."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from backbench.errors import StageError
from backbench.metrics import confusion_matrix, false_positives, score, true_positives
from backbench.plugin import Evaluator
from backbench.seeds import derive
from backbench.stages.features import FILE
from backbench.stages.task import Outcome, Task


def run(task: Task) -> Outcome:
    """Write per-image predictions, confusion matrices and per-class counts."""
    implementation, options, _ = task.plugin()
    clean = load_file(task.input("clean") / FILE)
    classes = int(task.record("clean").facts["classes"])
    evaluator: Evaluator = implementation(options, derive(task.seed, "evaluate"))
    evaluator.fit(clean["train"], clean["train_labels"], classes)

    labels = clean["val_labels"]
    features = {"clean": clean["val"]}
    target = None
    if task.has("triggered"):
        triggered = load_file(task.input("triggered") / FILE)
        if not np.array_equal(triggered["val_labels"], labels):
            raise StageError("the triggered pictures are not those of the clean evaluation")
        features["triggered"] = triggered["val"]
        target = task.record("triggered").facts["target"]

    tensors: dict[str, NDArray[Any]] = {"labels": labels}
    predictions: dict[str, NDArray[np.int64]] = {}
    tables: dict[str, Any] = {}
    for name, values in features.items():
        scores = evaluator.predict(values)
        if scores.shape != (len(labels), classes) or not np.isfinite(scores).all():
            raise StageError(f"the evaluator gave scores {scores.shape}, or some not finite")
        predictions[name] = scores.argmax(axis=1)
        tensors[f"{name}_scores"] = scores.astype(np.float16)
        tensors[f"{name}_predictions"] = predictions[name].astype(np.int32)
        confusion = confusion_matrix(labels, predictions[name], classes)
        tables[name] = {
            "confusion": confusion.tolist(),
            "tp": true_positives(confusion).tolist(),
            "fp": false_positives(confusion).tolist(),
        }
    save_file(tensors, task.folder / "predictions.safetensors")
    (task.folder / "classes.json").write_text(json.dumps(tables) + "\n", encoding="utf-8")
    metrics = score(labels, predictions["clean"], predictions.get("triggered"), target, classes)
    return Outcome(metrics=metrics, facts={"target": target, "images": len(labels)})
