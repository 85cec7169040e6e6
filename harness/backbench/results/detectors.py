"""Separation of triggered from clean validation images by a detector's scores.

Metrics are computed from stored scores and predictions when they are read.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from backbench.errors import StoreError, UsageError, printable
from backbench.metrics import Ints, Outcome
from backbench.model import Denominator
from backbench.plugin import Column
from backbench.results.detection import auroc, average_precision, recall_at
from backbench.results.leaderboard import Leaderboard
from backbench.results.reader import Counting, Measured
from backbench.store.metadata import EvaluationRecord
from backbench.store.predictions import read_predictions
from backbench.store.records import Record
from backbench.store.store import Store

#: File of a detector's scores.
SCORES = "scores.safetensors"

#: Beginning of the name of each metric of a detector.
PREFIX = "detector/"

#: Columns of the table of detectors.
COLUMNS = (
    Column("detector/auroc", "AUROC", best="high", control=True),
    Column("detector/auroc_lift", "AUROC lift", best="high"),
    Column("detector/auprc", "AUPRC", best="high", control=True),
    Column("detector/auprc_lift", "AUPRC lift", best="high"),
    Column("detector/tpr_at_1pct_fpr", "TPR 1 % FPR", best="high", control=True),
    Column("detector/tpr", "TPR", best="high", control=True),
    Column("detector/fpr", "FPR", best="low", control=True),
    Column("detector/accuracy_passed", "Acc passed", best="high", control=True),
    Column("detector/asr_passed", "ASR passed", best="low", control=True),
    Column("detector/asr_left", "ASR left", best="low", control=True),
    Column("detector/seconds", "Seconds", decimals=1),
)

#: The line under a table of detectors.
NOTE = (
    "clean and triggered validation images, shuffled in one set without labels; control: the same "
    "detector on an encoder trained on clean data, with the same triggered images: a detector that "
    "sees the trigger there does not see the backdoor; lift: value less control; TPR 1 % FPR: "
    "share of the triggered images above a threshold that rejects 1 % of the clean images; TPR, "
    "FPR: rejected at the detector's own threshold; passed: of the images that are not rejected; "
    "ASR left: share of all triggered images of other classes that pass and are taken for the "
    "target class; Seconds: wall clock of the detector and its training; ° also: scores are missing"
)


def only_detectors(board: Leaderboard) -> Leaderboard:
    """Return the rows of detectors of triggered images, with the columns of their metrics.

    Numbers that the detectors reported themselves come last.

    Raises:
        UsageError: If no detector has run yet.
    """
    rows = tuple(
        row
        for row in board.rows
        if row.undetected or any(name.startswith(PREFIX) for name in row.values)
    )
    if not rows:
        raise UsageError(f"{board.benchmark} · detectors: no detector has run yet")
    own = dict.fromkeys(name for row in rows for name in row.detector_reports)
    columns = (*COLUMNS, *(Column(name, printable(name), control=True) for name in own))
    return replace(board, rows=rows, columns=columns, legend=NOTE)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Scores of a detector, each (M,).

    Args:
        scores: Above 0: rejected; higher is more suspicious.
        index: Position of each image among the validation images.
        triggered: Whether it has the trigger.
    """

    scores: NDArray[np.float64]
    index: Ints
    triggered: NDArray[np.bool_]

    @classmethod
    def read(cls, content: bytes) -> Scored:
        """Read a stored file of scores.

        Raises:
            ValueError: If it is no such file, or a score is not finite.
        """
        try:
            tensors = load(content)
        except SafetensorError as error:
            raise ValueError(f"its scores cannot be read: {error}") from error
        kinds = {"scores": "f", "index": "i", "triggered": "b"}
        if {name: one.dtype.kind for name, one in tensors.items()} != kinds:
            raise ValueError("its scores are not the arrays scores, index and triggered")
        if len({one.shape for one in tensors.values()}) > 1 or tensors["scores"].ndim != 1:
            raise ValueError("its scores are not of as many images as its index")
        if not np.isfinite(tensors["scores"]).all():
            raise ValueError("some of its scores are not finite")
        return cls(**tensors)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Predictions of an evaluator, each (N,), and its target class.

    ``triggered`` is ``None`` without an attack, and ``target`` if the attack has none.
    """

    labels: Ints
    clean: Ints
    triggered: Ints | None
    target: int | None
    denominator: Denominator = "other-classes"


def separation(scored: Scored) -> dict[str, Outcome | float]:
    """Return how well scores separate triggered from clean images, at any threshold and at 0.

    Returns:
        Metrics by name; without triggered images only ``detector/fpr``.
    """
    found: dict[str, Outcome | float] = {}
    triggered = scored.triggered
    if triggered.any() and not triggered.all():
        found["detector/auroc"] = auroc(scored.scores, triggered)
        found["detector/auprc"] = average_precision(scored.scores, triggered)
        found["detector/tpr_at_1pct_fpr"] = recall_at(scored.scores, triggered)
    for name, asked in (("detector/tpr", triggered), ("detector/fpr", ~triggered)):
        if asked.any():
            found[name] = _share(scored.scores[asked] > 0, scored.index[asked])
    return found


def passing(scored: Scored, shown: Shown) -> dict[str, Outcome | float]:
    """Return the accuracy and the attack success rate of the images that a detector lets pass.

    Returns:
        Metrics by name; none of no image.
    """
    found: dict[str, Outcome | float] = {}
    passed = scored.scores <= 0
    clean, triggered = ~scored.triggered, scored.triggered
    correct = shown.clean[scored.index] == shown.labels[scored.index]
    if (asked := clean & passed).any():
        found["detector/accuracy_passed"] = _share(correct[asked], scored.index[asked])
    if shown.triggered is None or shown.target is None:
        return found
    if shown.denominator == "other-classes":
        triggered = triggered & (shown.labels[scored.index] != shown.target)
    hits = shown.triggered[scored.index] == shown.target
    if triggered.any():
        found["detector/asr_left"] = _share((hits & passed)[triggered], scored.index[triggered])
    if (asked := triggered & passed).any():
        found["detector/asr_passed"] = _share(hits[asked], scored.index[asked])
    return found


def _share(hits: NDArray[np.bool_], images: Ints) -> Outcome:
    """Return the share of images that were hit, in the order of their positions."""
    order = np.argsort(images)
    return Outcome(hits[order].astype(np.int8), images[order])


#: Gives the metrics of a detection (its key), by an evaluation (its key) and its variant; ``None``
#: if scores or predictions are not there.
DetectedOf = Callable[[str, str, str], Measured | None]


def scores_in(store: Store) -> Callable[[Record], bytes | None]:
    """Return a function that reads a detector's scores, if they are there."""

    def read(record: Record) -> bytes | None:
        path = store.artifact(record.key) / SCORES
        return path.read_bytes() if path.is_file() else None

    return read


def detector_reader(
    record_of: Callable[[str], Record | None],
    scores_of: Callable[[Record], bytes | None],
    predictions_of: Callable[[Record], str | io.BytesIO | None],
    counting: Counting,
) -> DetectedOf:
    """Return a function that reads the metrics of detectors; there are none of damaged files."""

    def read(key: str, evaluation: str, variant: str) -> Measured | None:
        record, predicted = record_of(key), record_of(evaluation)
        if record is None or predicted is None:
            return None
        content, file = scores_of(record), predictions_of(predicted)
        if content is None or file is None:
            return None
        made = predicted.of(EvaluationRecord)
        target = made.target if counting.targets is None else counting.targets[evaluation]
        try:
            scored = Scored.read(content)
            shown = Shown(*read_predictions(file, variant), target, counting.denominator)
            found = separation(scored) | passing(scored, shown)
        except (StoreError, ValueError, IndexError):
            return None
        fitted = record_of(record.stage.inputs.get("detector", ""))
        found["detector/seconds"] = record.wall_s + (fitted.wall_s if fitted is not None else 0.0)
        return found

    return read
