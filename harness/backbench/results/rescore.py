"""Metrics of another kind from the predictions that are stored: no model, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from backbench.errors import PluginError, StoreError
from backbench.metrics import Denominator, at, score
from backbench.plugin import Column, MetricInfo
from backbench.plugin.registry import Registered
from backbench.results.outcomes import outcomes
from backbench.results.statistics import Outcome
from backbench.store.metadata import DatasetRecord, EvaluationRecord
from backbench.store.predictions import file_of, read_predictions
from backbench.store.records import Record
from backbench.store.store import Store


@dataclass(frozen=True, slots=True)
class Rescoring:
    """What is counted differently.

    Args:
        denominator: Of which images ``asr`` is a share; ``None``: as recorded.
        target: Name of the class that is taken for the target; ``None``: as recorded.
        metrics: Metrics of plugins to be computed besides.
    """

    denominator: Denominator | None = None
    target: str | None = None
    metrics: tuple[Registered, ...] = ()

    @property
    def line(self) -> str:
        """The note below a table: what differs from the records."""
        parts = []
        if self.denominator is not None:
            parts.append(f"ASR of {self.denominator.replace('-', ' ')}")
        if self.target is not None:
            parts.append(f"target {self.target}")
        parts += [f"with {one.info.name} of {one.origin}" for one in self.metrics]
        return f"rescored: {', '.join(parts)}"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the metrics of plugins."""
        return tuple(cast("MetricInfo", one.info).column for one in self.metrics)


class Rescorer:
    """Gives records whose metrics have been computed again from their predictions.

    Args:
        store: Where records and predictions are; nothing is written to it.
        how: What is counted differently.
    """

    def __init__(self, store: Store, how: Rescoring) -> None:
        self._store = store
        self._how = how
        self._functions = [(one, one.function()) for one in how.metrics]
        self._found: dict[str, Record | None] = {}
        self._outcomes: dict[tuple[str, str], Mapping[str, Outcome]] = {}
        self._classes: dict[str, tuple[str, ...]] = {}

    def record(self, key: str) -> Record | None:
        """Return the record of an evaluation with its metrics computed again.

        Args:
            key: Key of the evaluation.

        Returns:
            The record; ``None`` if the evaluation is not in the store.

        Raises:
            StoreError: If its predictions cannot be read.
            PluginError: If a plugin's metric fails.
        """
        if key not in self._found:
            record = self._store.record(key)
            if record is not None:
                record = replace(record, metrics=dict(self._metrics(record)))
            self._found[key] = record
        return self._found[key]

    def outcomes(self, key: str, variant: str) -> Mapping[str, Outcome]:
        """Return what the metrics of an evaluation's variant were on every image.

        Those of plugins are functions of all images at once and have no outcomes.
        """
        self.record(key)
        return self._outcomes.get((key, variant), {})

    def _metrics(self, record: Record) -> Iterator[tuple[str, float]]:
        classes = self._class_names(record)
        made = record.of(EvaluationRecord)
        target = made.target
        if self._how.target is not None:
            if self._how.target not in classes:
                raise StoreError(f"{record.label}: there is no class {self._how.target!r}")
            target = classes.index(self._how.target)
        denominator = self._how.denominator or made.asr_denominator
        path = self._store.artifact(record.key) / file_of(record)
        for variant in made.variants or ("",):
            labels, clean, triggered = read_predictions(path, variant)
            found = score(labels, clean, triggered, target, len(classes), denominator=denominator)
            self._outcomes[record.key, variant] = outcomes(
                labels, clean, triggered, target, denominator=denominator
            )
            for metric, function in self._functions:
                try:
                    value = function(labels, clean, triggered, target, len(classes))
                    number = None if value is None else float(value)
                except Exception as error:
                    raise PluginError(
                        f"{metric} raised {type(error).__name__}: {error} ({record.label})"
                    ) from error
                if number is not None:
                    if not np.isfinite(number):
                        raise PluginError(f"{metric} gave {number} ({record.label})")
                    found[metric.info.name] = number
            yield from ((at(name, variant), value) for name, value in found.items())

    def _class_names(self, record: Record) -> tuple[str, ...]:
        """Return the classes of the dataset that an evaluation is of."""
        inputs = record.stage.inputs
        if "dataset" not in inputs:  # it has read features, and they know
            features = self._store.record(inputs["clean"])
            inputs = features.stage.inputs if features else {}
        key = inputs.get("dataset", "")
        if key not in self._classes:
            dataset = self._store.record(key)
            if dataset is None:
                raise StoreError(f"{record.label}: its dataset's record is not in the store")
            self._classes[key] = dataset.of(DatasetRecord).dataset.classes
        return self._classes[key]
