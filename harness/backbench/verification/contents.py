"""Compare a stage's artifact with its record and with other artifacts: no images, no plugins."""

from __future__ import annotations

from collections.abc import Iterator

from backbench.model import StageKind
from backbench.store.records import Record
from backbench.verification import datasets, evaluations, poisons, scores
from backbench.verification.evidence import Evidence

_CHECKS = {
    StageKind.DATASET: datasets.index_differences,
    StageKind.POISON: poisons.manifest_differences,
    StageKind.SANITIZE: scores.differences,
    StageKind.PREDICT: evaluations.differences,
}


def content_differences(record: Record, evidence: Evidence) -> Iterator[str]:
    """Compare the artifact of a stage with what its record and the stages before it say."""
    check = _CHECKS.get(record.stage.kind)
    if check is not None:
        yield from check(record, evidence)
