"""A store of predictions without a single training: what rescoring and claims read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from backbench.benchmark.config import Benchmark
from backbench.benchmark.planning import make_plan
from backbench.model import Plan, Stage, StageKind
from backbench.store.metadata import DatasetRecord, EvaluationRecord
from backbench.store.predictions import PREDICTIONS, load_predictions, write_predictions
from backbench.store.store import Store
from tests.factories import METADATA, record

#: Gives, of a label's evaluation and its labels, the predictions on clean and on triggered images.
Predict = Callable[[Stage, np.ndarray], tuple[np.ndarray, np.ndarray]]

TARGET = 0


def stored(folder: Path) -> dict[str, np.ndarray]:
    """Return what an evaluation's folder holds of its predictions, to be changed at will."""
    found = load_predictions((folder / PREDICTIONS).read_bytes())
    return {name: one.copy() for name, one in found.items()}


def predicted_store(root: Path, benchmark: Benchmark, predict: Predict, per_class: int = 8) -> Plan:
    """Write the records of a benchmark, and the predictions; other artifacts are empty."""
    store = Store(root)
    store.prepare()
    prints = {name: one.fingerprint(lambda path: path) for name, one in benchmark.datasets.items()}
    plan = make_plan(benchmark, prints)
    classes = len(next(iter(benchmark.metadata.values())).classes)
    labels = np.arange(classes * per_class) // per_class
    for key, stage in plan.stages.items():
        store.artifact(key).mkdir(exist_ok=True)
        metadata = METADATA[stage.kind]
        if stage.kind is StageKind.DATASET:
            (known,) = benchmark.metadata.values()
            metadata = DatasetRecord(known)
        elif stage.kind is StageKind.PREDICT:
            clean, triggered = predict(stage, labels)
            shown = {"clean_predictions": clean.astype(np.int32), "labels": labels}
            attacked = "triggered" in stage.inputs
            if attacked:
                shown["triggered_predictions"] = triggered.astype(np.int32)
            write_predictions(store.artifact(key) / PREDICTIONS, shown)
            target = TARGET if attacked else None
            card = stage.given.get("protocol", {})
            metadata = EvaluationRecord(target, len(labels), classes, protocol=card)
        made = record(key, replace(stage, given={}), metadata=metadata)
        # not published: that would wait for the disk, many times
        text = json.dumps(made.to_json())
        (root / "records" / f"{key}.json").write_text(text, encoding="utf-8")
    return plan
