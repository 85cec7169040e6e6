"""What is counted on predictions: pure functions of labels, predictions and the target class."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

#: Of which triggered images the attack success rate is a share: of those of the other classes, or
#: of all, the target's own among them.
Denominator = Literal["other-classes", "all-images"]

_SHARE, _COUNT = (0.0, 1.0), (0.0, math.inf)

#: The least and the greatest value of every metric of backbench's own.
BOUNDS = {
    "accuracy/clean": _SHARE,
    "accuracy/triggered": _SHARE,
    "target_tp/clean": _COUNT,
    "target_tp/triggered": _COUNT,
    "target_fp/clean": _COUNT,
    "target_fp/triggered": _COUNT,
    "asr": _SHARE,
}

#: Every metric of backbench's own.
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


def at(name: str, variant: str) -> str:
    """Name what belongs to a variant: ``asr@k=1``; ``asr`` where the evaluator has only one."""
    return f"{name}@{variant}" if variant else name
