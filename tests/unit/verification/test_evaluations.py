"""Hand-made evaluations: variants, what a forger may try."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backbench.metrics import confusion_matrix
from backbench.model import Stage, StageKind
from backbench.results.published_csv import per_class_csv
from backbench.store.metadata import EvaluationRecord
from backbench.store.records import Record
from backbench.verification.evaluations import differences
from backbench.verification.findings import readable
from tests.factories import record

CLASSES = ["a", "b", "c"]
LABELS = np.array([0, 0, 1, 1, 2, 2])
CLEAN = np.array([0, 0, 1, 1, 2, 0])
TRIGGERED = np.array([1, 0, 1, 1, 1, 2])


FEATURES, PREDICT = StageKind.FEATURES, StageKind.PREDICT


class Made:
    """Evidence that is made by hand."""

    def __init__(self, variants: list[str]) -> None:
        inputs = {"encoder": "enc", "dataset": "data", "poison": "poison"}
        metadata = EvaluationRecord(1, 6, 3, variants=tuple(variants))
        clean = Stage(FEATURES, None, None, {"encoder": "enc", "dataset": "data"})
        self.records = {
            "data": record("data", StageKind.DATASET),
            "poison": record("poison", StageKind.POISON),
            "clean": record("clean", clean),
            "triggered": record("triggered", Stage(FEATURES, None, None, inputs)),
            "e": record(
                "e",
                Stage(PREDICT, None, 0, {"clean": "clean", "triggered": "triggered"}),
                metadata=metadata,
            ),
        }
        self.tensors: dict[str, Any] = {"labels": LABELS}
        tables = {}
        self.files = {}
        for variant in variants or [""]:
            end = f"@{variant}" if variant else ""
            for name, found in (("clean", CLEAN), ("triggered", TRIGGERED)):
                self.tensors[f"{name}_predictions{end}"] = found.astype(np.int32)
                self.tensors[f"{name}_scores{end}"] = np.eye(3, dtype=np.float16)[found]
                matrix = confusion_matrix(LABELS, found, 3)
                wrong = matrix.sum(axis=0) - matrix.diagonal()
                tables[name + end] = {
                    "confusion": matrix.tolist(),
                    "tp": matrix.diagonal().tolist(),
                    "fp": wrong.tolist(),
                }
            self.files[f"classes_{variant}.csv" if variant else "classes.csv"] = per_class_csv(
                CLASSES,
                confusion_matrix(LABELS, CLEAN, 3),
                confusion_matrix(LABELS, TRIGGERED, 3),
                model="enc",
                data="poison",
            ).encode()
        self.files["classes.json"] = json.dumps(tables).encode()

    def record(self, key: str) -> Record | None:
        return self.records.get(key)

    def read(self, key: str, name: str) -> bytes:
        if name == "predictions.npz":
            file = io.BytesIO()
            np.savez_compressed(file, **self.tensors)
            return file.getvalue()
        if name == "index.json":
            return json.dumps({"val": {"labels": LABELS.tolist()}}).encode()
        return self.files[name]

    def say(self, **values: Any) -> None:
        own = self.records["e"]
        metadata = replace(own.of(EvaluationRecord), **values)
        self.records["e"] = replace(own, metadata=metadata)

    def differences(self) -> list[str]:
        return list(readable(differences(self.records["e"], self)))


def test_as_it_should_be() -> None:
    assert Made([]).differences() == []


def test_an_evaluator_of_images() -> None:
    """It reads the encoder, the dataset and the poison, and no features."""
    made = Made([])
    inputs = made.records["triggered"].stage.inputs
    own = made.records["e"]
    made.records["e"] = replace(own, stage=replace(own.stage, inputs=inputs))
    assert made.differences() == []


def test_each_variant() -> None:
    variants = ["k=1", "k=5"]
    assert Made(variants).differences() == []
    made = Made(variants)
    made.tensors["clean_predictions@k=5"] = TRIGGERED.astype(np.int32)
    assert "clean_predictions@k=5 says class 1 of image 0" in made.differences()[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: made.tensors.pop("clean_scores"), "and should hold"),
        (lambda made: made.tensors.update(extra=LABELS), "and should hold"),
        (
            lambda made: made.tensors.update(clean_predictions=np.full(6, 9, np.int32)),
            "a class outside",
        ),
        (
            lambda made: made.tensors.update(clean_predictions=np.full(6, -1, np.int32)),
            "a class outside",
        ),
        (
            lambda made: made.tensors.update(clean_predictions=CLEAN[:5].astype(np.int32)),
            "should be of shape (6,)",
        ),
        (
            lambda made: made.tensors.update(clean_scores=np.zeros((6, 2), np.float16)),
            "should be of shape (6, 3)",
        ),
        (lambda made: made.say(classes=2), "says classes = 2"),
        (lambda made: made.say(target=2), "says target = 2"),
        (lambda made: made.say(images=7), "says images = 7"),
        (lambda made: made.say(variants=("../../x",)), "variants"),
        (lambda made: made.records.pop("poison"), "has no record"),
        (lambda made: made.files.pop("classes.csv"), "cannot be read"),
        (lambda made: made.files.update({"classes.json": b"{"}), "too short"),
        (lambda made: made.files.update({"classes.json": b'{"a": 1234}'}), "classes.json"),
    ],
)
def test_what_is_not(change: Any, words: str) -> None:
    made = Made([])
    change(made)
    assert words in made.differences()[0]
