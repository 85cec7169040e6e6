"""Compute again how well a defense's scores separate poisons from clean images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from safetensors.numpy import load

from backbench.results.detection import detection
from backbench.store.metadata import SanitizeRecord
from backbench.store.records import Record
from backbench.verification.evidence import Evidence, index_of, manifest, metadata_differences

FILE = "scores.safetensors"


def differences(record: Record, evidence: Evidence) -> Iterator[str]:
    """Compare a defense's record with what its scores and the poison's manifest come to."""
    inputs = record.stage.inputs
    scores = load(evidence.read(record.key, FILE))["scores"]
    images = len(index_of(evidence, inputs["dataset"])["train"]["labels"])
    if scores.shape != (images,) or scores.dtype.kind != "f" or not np.isfinite(scores).all():
        yield f"{FILE}: not a finite score for each of {images} training images"
        return
    poisoned = np.zeros(images, dtype=bool)
    if "poison" in inputs:
        poisoned[[mark.index for mark in manifest(evidence, inputs["poison"], "train")]] = True
    found = replace(
        record.of(SanitizeRecord),
        images=images,
        dropped=int((scores > 0).sum()),
        detection=detection(scores, poisoned),
    )
    yield from metadata_differences(record, found)
