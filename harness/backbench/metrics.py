"""What is counted on predictions: pure functions of labels, predictions and the target class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

#: Of which triggered images the attack success rate is a share: of those of the other classes, or
#: of all, the target's own among them.
Denominator = Literal["other-classes", "all-images"]


#: Raise it when a metric counts otherwise than before: earlier evaluations are then outdated.
METRICS_VERSION = 1

_SHARE, _COUNT = (0.0, 1.0), (0.0, math.inf)

#: The least and the greatest value of every metric that :func:`score` gives.
BOUNDS = {
    "accuracy/clean": _SHARE,
    "accuracy/triggered": _SHARE,
    "target_tp/clean": _COUNT,
    "target_tp/triggered": _COUNT,
    "target_fp/clean": _COUNT,
    "target_fp/triggered": _COUNT,
    "asr": _SHARE,
}

#: Every metric that :func:`score` gives.
NAMES = frozenset(BOUNDS)

#: What the name of a variant may be; an evaluator with a single result has the empty name.
VARIANT_NAME = r"[\w.=+-]+"


def confusion_matrix(labels: Ints, predictions: Ints, classes: int) -> Ints:
    """Count predictions by true class.

    Args:
        labels: True classes, (N,), in [0, classes).
        predictions: Predicted classes, (N,), in [0, classes).
        classes: Number of classes.

    Returns:
        Counts, (classes, classes): rows are true classes, columns predictions.
    """
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


def attack_success_rate(
    confusion: Ints, target: int, denominator: Denominator = "other-classes"
) -> float:
    """Return the share of triggered images that were taken for the target.

    Args:
        confusion: Confusion matrix on triggered images.
        target: The target class.
        denominator: ``other-classes``: FP over the images that are not of the target class;
            ``all-images``: FP and TP over all images, so that a clean encoder that knows the
            target class has a rate above 0.

    Source: the count above the line of ``other-classes`` is the published evaluation's FP;
        ``all-images`` is how BackdoorBox and TrojanZoo count.
    Differs: the published code gives the count and no rate.
    """
    own = confusion[target]
    hits, images = confusion[:, target].sum(), confusion.sum()
    if denominator == "other-classes":
        hits, images = hits - own[target], images - own.sum()
    return float(hits / images) if images else float("nan")


def score(
    labels: Ints,
    clean: Ints,
    triggered: Ints | None,
    target: int | None,
    classes: int,
    *,
    denominator: Denominator = "other-classes",
) -> dict[str, float]:
    """Return all metrics of one evaluation.

    Args:
        labels: True classes of the validation images, (N,).
        clean: Predictions without trigger, (N,).
        triggered: Predictions with the trigger, (N,); ``None`` without an attack.
        target: Target class; ``None`` for an untargeted attack or none.
        classes: Number of classes.
        denominator: Of which images ``asr`` is a share.

    Returns:
        Metrics by name; rates in [0, 1], ``target_tp`` and ``target_fp`` are counts.
    """
    metrics: dict[str, float] = {}
    for name, predictions in (("clean", clean), ("triggered", triggered)):
        if predictions is None:
            continue
        confusion = confusion_matrix(labels, predictions, classes)
        metrics[f"accuracy/{name}"] = accuracy(confusion)
        if target is not None:
            metrics[f"target_tp/{name}"] = float(true_positives(confusion)[target])
            metrics[f"target_fp/{name}"] = float(false_positives(confusion)[target])
            if name == "triggered":
                metrics["asr"] = attack_success_rate(confusion, target, denominator)
    return metrics


def at(name: str, variant: str) -> str:
    """Name what belongs to a variant: ``asr@k=1``; ``asr`` where the evaluator has only one."""
    return f"{name}@{variant}" if variant else name


def of_variant(metrics: Mapping[str, float], variant: str) -> dict[str, float]:
    """Return the metrics of one variant, under their plain names.

    Args:
        metrics: Metrics by name, ``asr@k=1``.
        variant: ``k=1``; empty where the evaluator has only one.
    """
    if not variant:
        return dict(metrics)
    parts = ((name.partition("@"), value) for name, value in metrics.items())
    return {plain: value for (plain, _, of), value in parts if of == variant}
