"""Compare a stage's artifact with its record and with other artifacts: no images, no plugins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from safetensors.numpy import load

from backbench.model import StageKind
from backbench.results.detection import detection
from backbench.results.detectors import SCORES, Scored
from backbench.stages.detect import shuffled
from backbench.stages.verdicts import EVIDENCE, VERDICT, evidence_problem
from backbench.store.metadata import DetectRecord, InspectRecord, SanitizeRecord
from backbench.store.records import Record
from backbench.verification import datasets, evaluations, poisons
from backbench.verification.evidence import (
    Evidence,
    index_of,
    manifest,
    metadata_differences,
    parse_json,
    val_labels,
)


def score_differences(record: Record, evidence: Evidence) -> Iterator[str]:
    """Compare a defense's record with what its scores and the poison's manifest come to."""
    inputs = record.stage.inputs
    scores = load(evidence.read(record.key, SCORES))["scores"]
    images = len(index_of(evidence, inputs["dataset"])["train"]["labels"])
    marks = manifest(evidence, inputs["poison"], "train") if "poison" in inputs else []
    images += sum(mark.index >= images for mark in marks)
    if scores.shape != (images,) or scores.dtype.kind != "f" or not np.isfinite(scores).all():
        yield f"{SCORES}: not a finite score for each of {images} training images"
        return
    poisoned = np.zeros(images, dtype=bool)
    poisoned[[mark.index for mark in marks]] = True
    found = replace(
        record.of(SanitizeRecord),
        images=images,
        dropped=int((scores > 0).sum()),
        detection=detection(scores, poisoned),
    )
    yield from metadata_differences(record, found)


def detector_differences(record: Record, evidence: Evidence) -> Iterator[str]:
    """Compare a detector's scores with their images, their order and its record."""
    inputs, seed = record.stage.inputs, record.stage.seed
    scored = Scored.read(evidence.read(record.key, SCORES))
    images = len(val_labels(evidence, inputs["dataset"]))
    index, triggered = shuffled(images, seed or 0, triggered="poison" in inputs)
    if not (np.array_equal(scored.index, index) and np.array_equal(scored.triggered, triggered)):
        yield (
            f"{SCORES}: not a score for each of {images} validation images"
            f"{', clean and triggered' * ('poison' in inputs)}, in the order of its seed"
        )
        return
    found = replace(
        record.of(DetectRecord),
        clean=images,
        triggered=len(index) - images,
        rejected=int((scored.scores > 0).sum()),
    )
    yield from metadata_differences(record, found)


def verdict_differences(record: Record, evidence: Evidence) -> Iterator[str]:
    """Compare the record of an inspection with its verdict."""
    content = parse_json(evidence.read(record.key, VERDICT))
    found = replace(
        record.of(InspectRecord),
        score=float(content["score"]),
        numbers={str(name): float(value) for name, value in content["numbers"].items()},
    )
    yield from metadata_differences(record, found)
    if EVIDENCE in record.files:
        problem = evidence_problem(evidence.read(record.key, EVIDENCE))
        if problem:
            yield f"{EVIDENCE} {problem}"


def read_differences(record: Record, evidence: Evidence) -> Iterator[str]:
    """Compare the bytes that a stage read with those that its inputs' records describe."""
    for role, hashes in record.read.items():
        key = record.stage.inputs.get(role, "")
        now = evidence.record(key)
        for name, sha256 in hashes.items():
            if now is not None and now.hashes.get(name, sha256) != sha256:
                yield (
                    f"it was made of another {name} than the {role} ({key}) has now: `backbench "
                    f"run --redo {record.key}` makes it again"
                )


_CHECKS = {
    StageKind.DATASET: datasets.index_differences,
    StageKind.POISON: poisons.manifest_differences,
    StageKind.SANITIZE: score_differences,
    StageKind.DETECT: detector_differences,
    StageKind.INSPECT: verdict_differences,
    StageKind.PREDICT: evaluations.differences,
}


def content_differences(record: Record, evidence: Evidence) -> Iterator[str]:
    """Compare the artifact of a stage with its record and with the stages before it."""
    check = _CHECKS.get(record.stage.kind)
    if check is not None:
        yield from check(record, evidence)
