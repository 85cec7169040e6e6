"""What each metric was on every picture, from the stored predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from backbench.metrics import Denominator, Ints
from backbench.predictions import PREDICTIONS, read_predictions
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


def reader(store: Store) -> OutcomesOf:
    """Return a function that reads the outcomes of evaluations, each of them once.

    It gives nothing for an evaluation whose predictions are not there.
    """

    @cache
    def read(key: str, head: str) -> Mapping[str, Outcome]:
        path = store.artifact(key) / PREDICTIONS
        record = store.record(key)
        if record is None or not path.is_file():
            return {}
        labels, clean, triggered = read_predictions(path, head)
        return outcomes(
            labels,
            clean,
            triggered,
            record.facts.get("target"),
            denominator=record.facts.get("asr_denominator", "other-classes"),
        )

    return read
