"""Verdicts: every encoder and its score is there."""

from __future__ import annotations

from backbench.model import StageKind
from backbench.report.figures.verdicts import verdict_figure
from backbench.results.verdicts import Judged
from backbench.store.metadata import InspectRecord
from tests.factories import record
from tests.unit.report.figures.drawn import checked


def judged(attack: str, score: float, seed: int = 0) -> Judged:
    of = record(stage=StageKind.INSPECT, metadata=InspectRecord(score))
    return Judged("drawn", "byol", attack, "decree", seed, of)


def test_the_figure_has_each_score_and_the_area() -> None:
    encoders = [judged("none", -1.5), judged("patch", 0.5), judged("patch", 2.0, seed=1)]
    figure = checked(lambda: verdict_figure("decree", encoders))
    assert figure.rows[0] == ("byol", "none", "0", "-1.500")
    assert len(figure.rows) == 3
    assert "2 attacked and 1 clean encoders: AUROC 1.000, accuracy 1.000" in figure.alternative
