"""What each metric was on every picture, from the stored predictions."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbench.metrics import Denominator, Ints
from backbench.predictions import file_of, read_predictions
from backbench.records import Record
from backbench.statistics import Outcome
from backbench.store import Store

#: Gives the outcomes of an evaluation (its key) for one of its heads, by metric.
OutcomesOf = Callable[[str, str], Mapping[str, Outcome]]


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
        labels: True classes of the validation pictures, (N,).
        clean: Predictions without trigger, (N,).
        triggered: Predictions with the trigger, (N,); ``None`` without an attack.
        target: Target class; ``None`` for an untargeted attack or none.
        denominator: Of which pictures ``asr`` is a share.

    Returns:
        Outcomes by the names that ``metrics.score`` gives.
    """
    found: dict[str, Outcome] = {}
    everything = np.arange(len(labels))
    for name, predictions in (("clean", clean), ("triggered", triggered)):
        if predictions is None:
            continue
        found[f"accuracy/{name}"] = _outcome(predictions == labels, everything)
        if target is None:
            continue
        hits = predictions == target
        own, others = np.flatnonzero(labels == target), np.flatnonzero(labels != target)
        found[f"target_tp/{name}"] = _outcome(hits, own, count=True)
        found[f"target_fp/{name}"] = _outcome(hits, others, count=True)
        if name == "triggered":
            found["asr"] = _outcome(hits, others if denominator == "other-classes" else everything)
    return found


def _outcome(hits: NDArray[np.bool_], pictures: Ints, *, count: bool = False) -> Outcome:
    return Outcome(hits[pictures].astype(np.int8), pictures, len(pictures) if count else 1.0)


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
    """Return a function that reads the outcomes of evaluations, each of them once.

    It gives nothing for an evaluation whose predictions are not there.

    Args:
        record_of: Gives an evaluation's record, or ``None``.
        predictions_of: Gives its file of predictions, or the content of it, or ``None``.
    """

    @cache
    def read(key: str, head: str) -> Mapping[str, Outcome]:
        record = record_of(key)
        file = predictions_of(record) if record is not None else None
        if record is None or file is None:
            return {}
        labels, clean, triggered = read_predictions(file, head)
        return outcomes(
            labels,
            clean,
            triggered,
            record.facts.get("target"),
            denominator=record.facts.get("asr_denominator", "other-classes"),
        )

    return read
