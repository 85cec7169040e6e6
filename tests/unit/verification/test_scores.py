"""A defense's scores, in a store or a bundle, against its record and the manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from backbench.model import Stage, StageKind
from backbench.results.detection import detection
from backbench.store.metadata import SanitizeRecord
from backbench.store.records import Record
from backbench.verification.artifact_contents import score_differences
from backbench.verification.bundle import exported
from backbench.verification.findings import readable
from tests.factories import record

SCORES = np.array([2.0, -1.0, 1.0, -2.0, 0.5, -3.0])
POISONED = np.array([True, False, True, False, False, False])
RECORD = record(
    "s",
    Stage(StageKind.SANITIZE, None, 0, {"dataset": "d", "poison": "p"}),
    metadata=SanitizeRecord(6, 3, detection=detection(SCORES, POISONED)),
)


class Made:
    """Evidence of one such stage."""

    def __init__(self, scores: np.ndarray) -> None:
        mark = {"source": "x", "label": 0, "before": "", "after": "", "boxes": [], "opacity": 1.0}
        lines = [
            json.dumps({**mark, "index": int(at), "seed": 0}) for at in np.flatnonzero(POISONED)
        ]
        self.files = {
            "scores.safetensors": save({"scores": scores}),
            "index.json": json.dumps({"train": {"labels": [0] * 6}}).encode(),
            "train.jsonl": "\n".join(lines).encode(),
        }

    def record(self, key: str) -> Record | None:
        raise AssertionError(key)

    def read(self, key: str, name: str) -> bytes:
        return self.files[name]


def test_scores_go_into_a_bundle() -> None:
    assert exported(StageKind.SANITIZE, "scores.safetensors")
    assert not exported(StageKind.PRETRAIN, "scores.safetensors")


def test_as_it_should_be() -> None:
    assert list(readable(score_differences(RECORD, Made(SCORES)))) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda scores: scores[:5], "a finite score for each of 6"),
        (lambda scores: np.where(scores > 1, np.nan, scores), "a finite score for each of 6"),
        (lambda scores: scores - 0.7, "dropped = 3, and it is 2"),
        (lambda scores: np.abs(scores) * 1.0, "dropped = 3, and it is 6"),
        (lambda scores: np.where(scores == 2, 0.1, scores), "detection/average_precision"),
    ],
)
def test_what_is_not(change: Callable[[np.ndarray], np.ndarray], words: str) -> None:
    found = list(readable(score_differences(RECORD, Made(change(SCORES)))))
    assert words in found[0]


def test_a_metric_that_was_edited() -> None:
    made = RECORD.of(SanitizeRecord)
    metadata = replace(made, detection={**made.detection, "detection/auroc": 0.5})
    (found,) = readable(score_differences(replace(RECORD, metadata=metadata), Made(SCORES)))
    assert "'detection/auroc': 0.5" in found
