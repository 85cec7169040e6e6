"""What the metrics of an evaluation are: pure functions of its stored predictions.

A metric that backbench defines is the mean, or the sum, of one outcome for each image. A metric of
a plugin is a function of all predictions at once.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbench.errors import PluginError
from backbench.metrics import Denominator, Ints
from backbench.plugin.registry import Registered
from backbench.results.statistics import Outcome
from backbench.store.metadata import EvaluationRecord
from backbench.store.predictions import PREDICTIONS, read_predictions
from backbench.store.records import Record
from backbench.store.store import Store

#: The metrics of one variant of an evaluation, by name.
Measured = Mapping[str, "Outcome | float"]

#: Gives the metrics of an evaluation (its key) and variant; ``None`` if predictions are not there.
MeasuredOf = Callable[[str, str], "Measured | None"]

#: Evaluations whose metrics are kept at hand. A row asks for those of its seeds and then for no
#: others, so that memory does not grow with the number of rows.
_AT_HAND = 64


@dataclass(frozen=True, slots=True)
class Counting:
    """How predictions are counted.

    Args:
        denominator: Of which images ``asr`` is a share.
        targets: Target class by key of the evaluation; ``None``: each attack's own.
        metrics: Metrics of plugins.
    """

    denominator: Denominator = "other-classes"
    targets: Mapping[str, int] | None = None
    metrics: tuple[Registered, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Positions of all images, of those of the target class, and of the others.

    One object serves all evaluations of a dataset.
    """

    labels: Ints
    all: Ints
    own: Ints
    others: Ints

    @classmethod
    def of(cls, labels: Ints, target: int | None) -> Images:
        """Sort images by their class."""
        is_own = labels == target if target is not None else np.zeros(len(labels), bool)
        return cls(labels, np.arange(len(labels)), np.flatnonzero(is_own), np.flatnonzero(~is_own))


def outcomes(
    images: Images,
    clean: Ints,
    triggered: Ints | None,
    target: int | None,
    denominator: Denominator = "other-classes",
) -> dict[str, Outcome]:
    """Return the metrics of an evaluation, each with what happened on every image.

    Args:
        images: The validation images, sorted by whether they are of the target class.
        clean: Predictions without trigger, (N,).
        triggered: Predictions with the trigger, (N,); ``None`` without an attack.
        target: Target class; ``None`` for an untargeted attack or none.
        denominator: Of which images ``asr`` is a share. ``other-classes``: of those that are not
            of the target class. ``all-images``: of all, so that a clean encoder that knows the
            target class has a rate above 0.

    Returns:
        Outcomes by the names in :data:`backbench.metrics.NAMES`; no metric of no image.

    Source: the hits of ``target_fp`` are the published evaluation's, ``C[:, t].sum() - C[t, t]``;
        ``all-images`` is how BackdoorBox and TrojanZoo count.
    Differs: the published code gives the count and no rate.
    """
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
    return {name: one for name, one in found.items() if len(one.images)}


def _outcome(hits: NDArray[np.bool_], images: Ints, *, count: bool = False) -> Outcome:
    return Outcome(hits[images].view(np.int8), images, len(images) if count else 1.0)


def predictions_in(store: Store) -> Callable[[Record], Path | None]:
    """Return a function that says where an evaluation's predictions are, if they are there."""

    def find(record: Record) -> Path | None:
        path = store.artifact(record.key) / PREDICTIONS
        return path if path.is_file() else None

    return find


def reader(
    record_of: Callable[[str], Record | None],
    predictions_of: Callable[[Record], Path | io.BytesIO | None],
    counting: Counting,
) -> MeasuredOf:
    """Return a function that reads the metrics of evaluations, those at hand once.

    ``predictions_of`` gives an evaluation's file of predictions, or its content, if it is there.
    """
    functions = [(one, one.function()) for one in counting.metrics]
    known: dict[int | None, Images] = {}

    def images_of(labels: Ints, target: int | None) -> Images:
        """Return the last ones where they are the same, as they are for all rows of a dataset."""
        last = known.get(target)
        if last is None or not np.array_equal(last.labels, labels):
            last = known[target] = Images.of(labels, target)
        return last

    @lru_cache(maxsize=_AT_HAND)
    def read(key: str, variant: str) -> Measured | None:
        record = record_of(key)
        file = predictions_of(record) if record is not None else None
        if record is None or file is None:
            return None
        made = record.of(EvaluationRecord)
        target = made.target if counting.targets is None else counting.targets[key]
        shown = read_predictions(file, variant)
        images = images_of(shown[0], target)
        found: dict[str, Outcome | float] = {}
        found |= outcomes(images, *shown[1:], target, counting.denominator)
        for metric, function in functions:
            value = _asked(metric, function, (*shown, target, made.classes), record.label)
            if value is not None:
                found[metric.info.name] = value
        return found

    return read


def numbers(measured: Measured) -> dict[str, float]:
    """Return the metrics of an evaluation without what happened on each image."""
    return {name: one.value if isinstance(one, Outcome) else one for name, one in measured.items()}


def _asked(
    metric: Registered, function: Callable[..., Any], arguments: tuple[Any, ...], label: str
) -> float | None:
    """Return a plugin's metric of an evaluation.

    Raises:
        PluginError: If it fails, or is not finite.
    """
    try:
        value = function(*arguments)
        number = None if value is None else float(value)
    except Exception as error:
        raise PluginError(f"{metric} raised {type(error).__name__}: {error} ({label})") from error
    if number is not None and not math.isfinite(number):
        raise PluginError(f"{metric} gave {number} ({label})")
    return number
