"""Metrics of detectors: from stored scores and predictions, with control, in every table."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from tests.factories import measured_by, record

from backbench.errors import UsageError
from backbench.metrics import Outcome
from backbench.model import Cell, CellName, Detection, Plan, PluginUse, Stage, StageKind
from backbench.report.results import Results
from backbench.results.detectors import Scored, Shown, detector_reader, passing, separation
from backbench.results.leaderboard import Leaderboard
from backbench.results.plugin_reports import reports
from backbench.results.reader import Counting, numbers
from backbench.results.rows import build
from backbench.store.metadata import DetectRecord, EvaluationRecord
from backbench.store.predictions import write_predictions
from backbench.store.records import Record

LABELS = np.array([0, 0, 1, 1, 2, 2])
CLEAN = np.array([0, 1, 1, 1, 2, 0])
TRIGGERED = np.array([0, 0, 0, 0, 0, 2])
SHOWN = Shown(LABELS, CLEAN, TRIGGERED, target=0)


def mixed(clean: list[float], triggered: list[float], seed: int = 0) -> Scored:
    """Shuffle scores of clean and of triggered images."""
    scores = np.array([*clean, *triggered])
    order = np.random.default_rng(seed).permutation(len(scores))
    count = len(clean)
    return Scored(scores[order], order % count, order >= count)


#: At the threshold 0 one clean and four triggered images are rejected.
SCORED = mixed([-3, -2, -1, 0.5, -4, -5], [1, 2, 3, -0.5, -0.5, 4])


def test_separation_by_hand() -> None:
    found = numbers(separation(SCORED))
    pairs = [
        (t > c) + (t == c) / 2 for t in (1, 2, 3, -0.5, -0.5, 4) for c in (-3, -2, -1, 0.5, -4, -5)
    ]
    assert found["detector/auroc"] == pytest.approx(sum(pairs) / 36)
    assert found["detector/tpr"] == pytest.approx(4 / 6)
    assert found["detector/fpr"] == pytest.approx(1 / 6)
    assert found["detector/tpr_at_1pct_fpr"] == pytest.approx(4 / 6)
    # ranks of the triggered images: 1 to 4 all triggered; 5 is clean; 6 and 7 are tied
    assert found["detector/auprc"] == pytest.approx((4 * 1.0 + 2 * 6 / 7) / 6)


def test_what_passes_by_hand() -> None:
    found = numbers(passing(SCORED, SHOWN))
    # clean images 0, 1, 2, 4 and 5 pass; 0, 2 and 4 are recognized
    assert found["detector/accuracy_passed"] == pytest.approx(3 / 5)
    # of the triggered images of other classes, 2 to 5, images 3 and 4 pass, both as class 0
    assert found["detector/asr_passed"] == 1
    assert found["detector/asr_left"] == pytest.approx(2 / 4)
    every = numbers(passing(SCORED, replace(SHOWN, denominator="all-images")))
    assert every["detector/asr_left"] == pytest.approx(2 / 6)


def test_the_order_of_the_images_moves_no_number() -> None:
    other = mixed([-3, -2, -1, 0.5, -4, -5], [1, 2, 3, -0.5, -0.5, 4], seed=5)
    assert numbers(separation(other)) == numbers(separation(SCORED))
    assert numbers(passing(other, SHOWN)) == numbers(passing(SCORED, SHOWN))
    one, two = separation(SCORED)["detector/tpr"], separation(other)["detector/tpr"]
    assert isinstance(one, Outcome)
    assert isinstance(two, Outcome)
    np.testing.assert_array_equal(one.hits, two.hits)


def test_without_an_attack_only_false_positives_count() -> None:
    clean = Scored(np.array([1.0, -1, -1, 2]), np.arange(4), np.zeros(4, bool))
    assert numbers(separation(clean)) == {"detector/fpr": 0.5}
    shown = Shown(LABELS, CLEAN, None, None)
    assert numbers(passing(clean, shown)) == {"detector/accuracy_passed": 0.5}


def test_a_detector_that_rejects_all_lets_nothing_pass() -> None:
    scored = mixed([1.0] * 6, [1.0] * 6)
    assert numbers(passing(scored, SHOWN)) == {"detector/asr_left": 0.0}
    found = numbers(separation(scored))
    assert found["detector/tpr"] == found["detector/fpr"] == 1
    assert found["detector/auroc"] == 0.5
    assert found["detector/tpr_at_1pct_fpr"] == 0


def content(scored: Scored) -> bytes:
    return save({"scores": scored.scores, "index": scored.index, "triggered": scored.triggered})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"not a file", "cannot be read"),
        (save({"scores": np.zeros(3)}), "not the arrays scores, index and triggered"),
        (content(replace(SCORED, index=SCORED.index[:5])), "of as many images"),
        (content(replace(SCORED, scores=SCORED.scores * math.inf)), "not finite"),
    ],
)
def test_damaged_scores_are_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Scored.read(content)


# -- in a leaderboard --------------------------------------------------------------------------


def plan_and_records(seeds: int = 2) -> tuple[Plan, dict[str, Record]]:
    """One detector after a poisoned encoder and after its control."""
    use = PluginUse("defense", "guard", "d", 1, {}, {})
    stages, cells, records = {}, [], {}
    for seed in range(seeds):
        keys = []
        for trained_on in ("poison", "clean"):
            encoder = Stage(StageKind.PRETRAIN, use, seed, {"data": trained_on})
            predict = Stage(StageKind.PREDICT, use, seed, {"clean": encoder.key})
            detect = Stage(StageKind.DETECT, use, seed, {"encoder": encoder.key, "poison": "p"})
            for stage in (encoder, predict, detect):
                stages[stage.key] = stage
                records[stage.key] = record(stage.key, stage)
            records[predict.key] = record(
                predict.key, predict, metadata=EvaluationRecord(0, 6, 3), metrics={"asr": 0.5}
            )
            made = DetectRecord(6, 6, 5)
            own = {"limit": 1.0 + seed if trained_on == "poison" else 0.5}
            records[detect.key] = record(detect.key, detect, metadata=made, wall_s=2.0, report=own)
            keys.append((encoder.key, predict.key, detect.key))
        (encoder, predict, detect), control = keys
        name = CellName("d", "patch", "byol", "guard", "knn", seed)
        found = Detection(detect, control[2])
        cells.append(Cell(name, (encoder, predict), control[1], (found,)))
    return Plan("b", stages, tuple(cells)), records


def board(
    plan: Plan, records: dict[str, Record], folder: Path, lost: set[str] = frozenset()
) -> Leaderboard:
    """Build the leaderboard; the detector is better on poisoned encoders than on their controls."""
    write_predictions(
        folder / "p.npz",
        {
            "labels": LABELS,
            "clean_predictions": CLEAN.astype(np.int32),
            "triggered_predictions": TRIGGERED.astype(np.int32),
        },
    )
    controls = {one.control for cell in plan.cells for one in cell.detections}

    def scores_of(record: Record) -> bytes | None:
        if record.key in lost:
            return None
        worse = mixed([-3, -2, -1, 0.5, -4, -5], [1, -2, -3, -0.5, -0.5, -4])
        return content(worse if record.key in controls else SCORED)

    read = detector_reader(records.get, scores_of, lambda _: folder / "p.npz", Counting())
    measured = measured_by(one for one in records.values() if one.stage.kind is StageKind.PREDICT)
    return build(
        plan,
        records.get,
        lambda _: None,
        measured_of=measured,
        detected_of=read,
        reported_of=reports(plan, records.get),
    )


def test_a_row_has_the_detectors_metrics_with_control_and_lift(tmp_path: Path) -> None:
    (row,) = board(*plan_and_records(), tmp_path).rows
    assert row.complete
    assert row.values["detector/tpr"].mean == pytest.approx(4 / 6)
    assert row.controls["detector/tpr"].mean == pytest.approx(1 / 6)
    lift = row.values["detector/auroc"].mean - row.controls["detector/auroc"].mean
    assert row.values["detector/auroc_lift"].mean == pytest.approx(lift)
    assert row.lifts["detector/tpr"].values == pytest.approx((0.5, 0.5))
    assert row.values["detector/tpr"].over == "seeds and images"
    assert row.values["detector/seconds"].mean == 2.0
    assert row.values["asr"].mean == 0.5


def test_what_a_detector_reports_is_beside_that_on_the_control(tmp_path: Path) -> None:
    results = Results(board(*plan_and_records(), tmp_path)).detectors()
    (row,) = results.rows
    assert row.values["guard/limit"].values == (1.0, 2.0)
    assert row.controls["guard/limit"].values == (0.5, 0.5)
    assert results.board.columns[-1].metric == "guard/limit"


def test_rows_whose_scores_are_missing_are_incomplete_and_state_it(tmp_path: Path) -> None:
    plan, records = plan_and_records()
    (one, other) = (cell.detections[0] for cell in plan.cells)
    (row,) = board(plan, records, tmp_path, lost={one.key}).rows
    assert row.seeds == (0, 1)
    assert row.values["detector/auroc"].n == 1
    assert row.undetected == 1
    assert not row.complete
    assert "its scores are missing or damaged" in row.problem
    del records[other.control]
    (row,) = board(plan, records, tmp_path).rows
    assert row.undetected == 1
    assert row.values["detector/auroc"].n == 2
    assert row.values["detector/auroc_lift"].n == 1
    assert not row.problem


@pytest.mark.parametrize("style", ["table", "json", "csv", "markdown", "latex", "html"])
def test_the_table_of_detectors_has_value_control_and_note(tmp_path: Path, style: str) -> None:
    results = Results(board(*plan_and_records(), tmp_path)).detectors()
    text = results.table(style)
    if style == "json":
        (row,) = json.loads(text)["rows"]
        assert row["metrics"]["detector/auroc"]["n"] == 2
        assert row["controls"]["detector/auroc"]["mean"] < row["metrics"]["detector/auroc"]["mean"]
        return
    if style == "csv":
        (row,) = csv.DictReader(io.StringIO(text))
        assert float(row["detector/tpr:mean"]) == pytest.approx(4 / 6)
        assert float(row["detector/tpr:control:mean"]) == pytest.approx(1 / 6)
        return
    assert "AUROC" in text
    assert ".667" in text
    assert ".167" in text
    assert "one set without" in " ".join(text.split())
    assert "Acc trig" not in text


def test_a_board_without_detectors_is_refused(tmp_path: Path) -> None:
    whole = board(*plan_and_records(), tmp_path)
    rows = (replace(whole.rows[0], values={}, undetected=0),)
    with pytest.raises(UsageError, match="no detector has run yet"):
        Results(replace(whole, rows=rows)).detectors()
