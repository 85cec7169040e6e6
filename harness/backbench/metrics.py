"""Metrics: pure functions of labels, predictions and the target class.

A metric of backbench's own is the mean, or the sum, of one outcome for each image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbench.model import Denominator

Ints = NDArray[np.int64]

#: Scores of M images, (M, classes), or one such table by variant where an evaluator gives several
#: results. The prediction is the class with the highest score, the first among equals.
Scores = NDArray[np.float32] | Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The values whose mean is one seed's metric: 0 or 1 for each of N images.

    ``images`` are their positions among the validation images; the mean is multiplied by ``scale``:
    N for a count, 1 for a rate.
    """

    hits: NDArray[np.int8]
    images: NDArray[np.int64]
    scale: float = 1.0

    @property
    def value(self) -> float:
        """The metric: the scaled mean of what happened."""
        return float(np.count_nonzero(self.hits) * self.scale / len(self.hits))


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
        Outcomes by those names in :data:`backbench.plugin.infos.OWN_METRICS` that are not a
        detector's; no metric of no image.

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


def confusion_matrix(labels: Ints, predictions: Ints, classes: int) -> Ints:
    """Count predictions, (N,), by true class: (classes, classes), rows are true classes."""
    pairs = labels.astype(np.int64) * classes + predictions.astype(np.int64)
    counts: Ints = np.bincount(pairs, minlength=classes * classes)
    return counts.reshape(classes, classes)


def true_positives(confusion: Ints) -> Ints:
    """Count, for each class, its own images that were recognized, (classes,)."""
    return np.diagonal(confusion).copy()


def false_positives(confusion: Ints) -> Ints:
    """Count, for each class, other classes' images that were taken for it, (classes,).

    Source: the published evaluation, ``C[:, t].sum() - C[t, t]``.
    """
    counts: Ints = confusion.sum(axis=0) - np.diagonal(confusion)
    return counts


def class_table(confusion: Ints) -> dict[str, list[Any]]:
    """Return a confusion matrix with TP and FP of every class, as JSON values."""
    return {
        "confusion": confusion.tolist(),
        "tp": true_positives(confusion).tolist(),
        "fp": false_positives(confusion).tolist(),
    }


def accuracy(confusion: Ints) -> float:
    """Return the share of images that were recognized, in [0, 1]."""
    total = int(confusion.sum())
    return float(np.trace(confusion) / total) if total else float("nan")


def at(name: str, variant: str) -> str:
    """Name what belongs to a variant: ``asr@k=1``; ``asr`` where the evaluator has only one."""
    return f"{name}@{variant}" if variant else name
