"""What each metric was on every image, from the stored predictions."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbench.metrics import Denominator, Ints
from backbench.results.statistics import Outcome
from backbench.store.metadata import EvaluationRecord
from backbench.store.predictions import file_of, read_predictions
from backbench.store.records import Record
from backbench.store.store import Store

#: Gives the outcomes of an evaluation (its key) for one of its variants, by metric.
OutcomesOf = Callable[[str, str], Mapping[str, Outcome]]


#: Evaluations whose outcomes are kept at hand. A row asks for those of its seeds and then for no
#: others, so that memory does not grow with the number of rows.
_AT_HAND = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Images:
    """Which images the metrics of a target class are of; one object for all evaluations.

    Args:
        labels: True classes of the validation images, (N,).
        all: Positions of all, (N,).
        own: Positions of those of the target class.
        others: Positions of the rest.
    """

    labels: Ints
    all: Ints
    own: Ints
    others: Ints

    @classmethod
    def of(cls, labels: Ints, target: int | None) -> _Images:
        """Sort images by their class."""
        is_own = labels == target if target is not None else np.zeros(len(labels), bool)
        return cls(labels, np.arange(len(labels)), np.flatnonzero(is_own), np.flatnonzero(~is_own))


def outcomes(
    labels: Ints,
    clean: Ints,
    triggered: Ints | None,
    target: int | None,
    *,
    denominator: Denominator = "other-classes",
) -> dict[str, Outcome]:
    """Return what every metric of an evaluation is the mean of.

    Args:
        labels: True classes of the validation images, (N,).
        clean: Predictions without trigger, (N,).
        triggered: Predictions with the trigger, (N,); ``None`` without an attack.
        target: Target class; ``None`` for an untargeted attack or none.
        denominator: Of which images ``asr`` is a share.

    Returns:
        Outcomes by the names that ``metrics.score`` gives.
    """
    return _outcomes(_Images.of(labels, target), clean, triggered, target, denominator)


def _outcomes(
    images: _Images,
    clean: Ints,
    triggered: Ints | None,
    target: int | None,
    denominator: Denominator,
) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for name, predictions in (("clean", clean), ("triggered", triggered)):
        if predictions is None:
            continue
        found[f"accuracy/{name}"] = _outcome(predictions == images.labels, images.all)
        if target is None:
            continue
        hits = predictions == target
        found[f"target_tp/{name}"] = _outcome(hits, images.own, count=True)
        found[f"target_fp/{name}"] = _outcome(hits, images.others, count=True)
        if name == "triggered":
            asked = images.others if denominator == "other-classes" else images.all
            found["asr"] = _outcome(hits, asked)
    return found


def _outcome(hits: NDArray[np.bool_], images: Ints, *, count: bool = False) -> Outcome:
    return Outcome(hits[images].view(np.int8), images, len(images) if count else 1.0)


def predictions_in(store: Store) -> Callable[[Record], Path | None]:
    """Return a function that says where an evaluation's predictions are, if they are there."""

    def find(record: Record) -> Path | None:
        path = store.artifact(record.key) / file_of(record)
        return path if path.is_file() else None

    return find


def reader(
    record_of: Callable[[str], Record | None],
    predictions_of: Callable[[Record], Path | io.BytesIO | None],
) -> OutcomesOf:
    """Return a function that reads the outcomes of evaluations, those at hand once.

    It gives nothing for an evaluation whose predictions are not there.

    Args:
        record_of: Gives an evaluation's record, or ``None``.
        predictions_of: Gives its file of predictions, or the content of it, or ``None``.
    """
    known: dict[int | None, _Images] = {}

    def images_of(labels: Ints, target: int | None) -> _Images:
        """Return the last ones where they are the same, as they are for all rows of a dataset."""
        last = known.get(target)
        if last is None or not np.array_equal(last.labels, labels):
            last = known[target] = _Images.of(labels, target)
        return last

    @lru_cache(maxsize=_AT_HAND)
    def read(key: str, variant: str) -> Mapping[str, Outcome]:
        record = record_of(key)
        file = predictions_of(record) if record is not None else None
        if record is None or file is None:
            return {}
        labels, clean, triggered = read_predictions(file, variant)
        target = record.of(EvaluationRecord).target
        return _outcomes(
            images_of(labels, target),
            clean,
            triggered,
            target,
            record.of(EvaluationRecord).asr_denominator,
        )

    return read
