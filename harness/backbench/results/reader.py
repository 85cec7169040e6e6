"""Read the metrics of an evaluation from its stored predictions.

The metrics of backbench's own are in :mod:`backbench.metrics`. A metric of a plugin is a function
of all predictions at once.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, cast

from backbench.errors import PluginError, StoreError
from backbench.metrics import Images, Ints, Outcome, outcomes
from backbench.model import Denominator
from backbench.plugin import MetricInfo, Predicted
from backbench.plugin.calling import is_finite, plugin_code
from backbench.plugin.registry import Registered
from backbench.results.statistics import same_images
from backbench.store.metadata import EvaluationRecord
from backbench.store.predictions import PREDICTIONS, read_predictions, read_scores
from backbench.store.records import Record
from backbench.store.store import Store

#: The metrics of one variant of an evaluation, by name.
Measured = Mapping[str, "Outcome | float"]

#: Gives the metrics of an evaluation (its key) and variant; ``None`` if predictions are not there.
MeasuredOf = Callable[[str, str], "Measured | None"]

#: Gets a metric of a plugin that cannot be used, and why.
Broken = Callable[[Registered, PluginError], None]

#: Evaluations whose metrics are kept at hand. A row reads those of its seeds and then no
#: others, so that memory does not grow with the number of rows.
_AT_HAND = 64

#: Evaluations whose predictions are kept at hand: those without a defense are read again for each
#: defense, after the rows of the other evaluators.
_SHOWN_AT_HAND = 256


@dataclass(frozen=True, slots=True)
class Counting:
    """Rules of counting: the images of which ``asr`` is a share, and the metrics of plugins.

    ``targets`` is the target class by key of the evaluation; ``None``: each attack's own.
    ``undefended`` gives, by key of an evaluation with a defense, the key of that without.
    """

    denominator: Denominator = "other-classes"
    targets: Mapping[str, int] | None = None
    metrics: tuple[Registered, ...] = ()
    undefended: Mapping[str, str] = field(default_factory=dict)


def predictions_in(store: Store) -> Callable[[Record], str | None]:
    """Return a function that finds an evaluation's predictions, if they are whole."""
    artifacts = os.fspath(store.artifact(""))

    def find(record: Record) -> str | None:
        path = f"{artifacts}/{record.key}/{PREDICTIONS}"  # joining Paths is slow
        size = record.files.get(PREDICTIONS, {}).get("bytes")
        if store.remote is not None:
            store.artifact(record.key)
        try:
            found = os.stat(path)  # noqa: PTH116
        except OSError:
            return None
        return path if size in {None, found.st_size} else None

    return find


class _PluginMetrics:
    """The metrics of plugins; one that fails is left out where its error is taken."""

    def __init__(self, metrics: Iterable[Registered], broken: Broken | None) -> None:
        self._broken = broken
        self._functions: dict[str, tuple[Registered, Callable[..., Any]]] = {}
        for metric in metrics:
            if function := self._asked(metric, metric.function):
                self._functions[metric.info.name] = metric, function

    def values(
        self, arguments_of: Callable[[str], tuple[Any, ...] | None], label: str
    ) -> dict[str, float]:
        """Return the metrics of an evaluation that have a value.

        ``arguments_of`` gives what a metric reads, if the evaluation has it.
        """
        found = {}
        for name, (metric, function) in tuple(self._functions.items()):
            arguments = arguments_of(cast("MetricInfo", metric.info).reads)
            if arguments is None:
                continue
            value = self._asked(metric, partial(_value, metric, function, arguments, label))
            if value is not None:
                found[name] = value
        return found

    def _asked(self, metric: Registered, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except PluginError as error:
            if self._broken is None:
                raise
            self._functions.pop(metric.info.name, None)
            self._broken(metric, error)
            return None


def reader(
    record_of: Callable[[str], Record | None],
    predictions_of: Callable[[Record], str | io.BytesIO | None],
    counting: Counting,
    broken: Broken | None = None,
) -> MeasuredOf:
    """Return a function that reads the metrics of evaluations, those at hand once.

    There are none of damaged predictions. ``predictions_of`` gives an evaluation's file of
    predictions, or its content, if it is there. ``broken`` gets the metric of a plugin that cannot
    be used, which is then left out; without it, the error is raised.
    """
    metrics = _PluginMetrics(counting.metrics, broken)
    known: dict[int | None, Images] = {}

    def images_of(labels: Ints, target: int | None) -> Images:
        """Return the last images where they are the same, as for all rows of a dataset."""
        last = known.get(target)
        if last is None or not same_images(last.labels, labels):
            last = known[target] = Images.of(labels, target)
        return last

    @lru_cache(maxsize=_SHOWN_AT_HAND)
    def shown_of(key: str, variant: str) -> tuple[Ints, Ints, Ints | None] | None:
        """Return labels and predictions, if they are there and whole."""
        record = record_of(key)
        file = predictions_of(record) if record is not None else None
        with suppress(StoreError):
            return None if file is None else read_predictions(file, variant)
        return None

    @lru_cache(maxsize=_AT_HAND)
    def read(key: str, variant: str) -> Measured | None:
        record, shown = record_of(key), shown_of(key, variant)
        if record is None or shown is None:
            return None
        made = record.of(EvaluationRecord)
        target = made.target if counting.targets is None else counting.targets[key]
        labels, clean, triggered = shown

        def arguments_of(reads: str) -> tuple[Any, ...] | None:
            if reads == "predictions":
                return (*shown, target, made.classes)
            if reads == "scores":
                file = predictions_of(record)
                with suppress(StoreError):
                    scores = None if file is None else read_scores(file, variant)
                    return None if scores is None else (labels, *scores, target, made.classes)
                return None
            undefended = counting.undefended.get(key)
            other = None if undefended is None else shown_of(undefended, variant)
            if other is None or not same_images(other[0], labels):
                return None
            own = Predicted(clean, triggered)
            return (labels, own, Predicted(*other[1:]), target, made.classes)

        images = images_of(labels, target)
        found: dict[str, Outcome | float] = {}
        found |= outcomes(images, clean, triggered, target, counting.denominator)
        found |= metrics.values(arguments_of, record.label)
        return found

    return read


def numbers(measured: Measured) -> dict[str, float]:
    """Return the metrics of an evaluation without what happened on each image."""
    return {name: one.value if isinstance(one, Outcome) else one for name, one in measured.items()}


def _value(
    metric: Registered, function: Callable[..., Any], arguments: tuple[Any, ...], label: str
) -> float | None:
    """Return a plugin's metric: finite, within the bounds that it declares; ``None`` if none."""
    try:
        with plugin_code(metric):
            value = function(*arguments)
    except PluginError as error:
        raise PluginError(f"{error} ({label})") from error
    if value is None:
        return None
    low, high = cast("MetricInfo", metric.info).bounds or (-math.inf, math.inf)
    if not is_finite(value) or not low <= value <= high:
        wanted = "a finite number" if math.isinf(high - low) else f"a number in [{low:g}, {high:g}]"
        shown = " ".join(repr(value)[:80].split())
        raise PluginError(f"{metric} gave {shown}, and must give {wanted} or None ({label})")
    return float(value)
