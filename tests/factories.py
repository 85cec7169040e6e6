"""Records for tests, with defaults for what a test does not look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backbench.model import Plan, Stage, StageKind
from backbench.options.base import DatasetMetadata
from backbench.results.leaderboard import Leaderboard, build
from backbench.results.outcomes import MeasuredOf
from backbench.store.metadata import (
    DatasetRecord,
    EncoderRecord,
    EvaluationRecord,
    FeaturesRecord,
    FitRecord,
    ImportRecord,
    Metadata,
    PoisonRecord,
    RepairRecord,
    SanitizeRecord,
)
from backbench.store.records import Record

#: Three classes, two training images of each.
DATASET = DatasetMetadata(("a", "b", "c"), 6, 6, (8, 8), (2, 2, 2))

METADATA: dict[StageKind, Metadata] = {
    StageKind.DATASET: DatasetRecord(DATASET, sizes={"train": None, "val": None}),
    StageKind.POISON: PoisonRecord(1, "b", 2, 1 / 3, 1.0, 3),
    StageKind.PRETRAIN: EncoderRecord(6),
    StageKind.IMPORT: ImportRecord("w.pth", "0" * 64, "timm", 1),
    StageKind.SANITIZE: SanitizeRecord(6, 3),
    StageKind.REPAIR: RepairRecord(),
    StageKind.FEATURES: FeaturesRecord(3, "fp32", 4),
    StageKind.FIT: FitRecord(),
    StageKind.PREDICT: EvaluationRecord(None, 6, 3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRecord(Record):
    """A record of an evaluation, and what its predictions would come to.

    Args:
        metrics: ``asr``, ``asr@k=1``.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)


def record(
    key: str = "0" * 32, stage: Stage | StageKind = StageKind.PREDICT, **more: Any
) -> MeasuredRecord:
    """Make a record.

    Args:
        key: Its key.
        stage: The stage, or its kind.
        more: Fields of the record; without them, the usual ones of the stage's kind.
    """
    if isinstance(stage, StageKind):
        stage = Stage(stage, None, 0, label=key)
    defaults: dict[str, Any] = {"metadata": METADATA[stage.kind], "finished": ""}
    defaults |= dict.fromkeys(("wall_s", "cpu_s", "peak_mem_gib"), 0.0)
    return MeasuredRecord(key=key, stage=stage, **{**defaults, **more})


def measured_by(records: Iterable[MeasuredRecord]) -> MeasuredOf:
    """Return what gives the metrics that records were made with.

    Args:
        records: The records.
    """
    known = {one.key: one.metrics for one in records}

    def measured(key: str, variant: str) -> dict[str, float]:
        end = f"@{variant}" if variant else ""
        pairs = known[key].items()
        return {name.removesuffix(end): value for name, value in pairs if name.endswith(end)}

    return measured


def board(
    plan: Plan,
    records: Mapping[str, MeasuredRecord],
    failures: Mapping[str, Mapping[str, Any]] | None = None,
) -> Leaderboard:
    """Build the leaderboard of a plan from records that were made with metrics."""
    measured_of = measured_by(records.values())
    return build(plan, records.get, (failures or {}).get, measured_of=measured_of)
