"""What is counted on predictions: pure functions of labels, predictions and the target class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


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
    """Count, for each class, its own pictures that were recognised, (classes,)."""
    return np.diagonal(confusion).copy()


def false_positives(confusion: Ints) -> Ints:
    """Count, for each class, other classes' pictures that were taken for it, (classes,).

    Source: the published evaluation, ``C[:, t].sum() - C[t, t]``.
    """
    counts: Ints = confusion.sum(axis=0) - np.diagonal(confusion)
    return counts


def accuracy(confusion: Ints) -> float:
    """Return the share of pictures that were recognised, in [0, 1]."""
    total = int(confusion.sum())
    return float(np.trace(confusion) / total) if total else float("nan")


def attack_success_rate(confusion: Ints, target: int) -> float:
    """Return the share of the *other* classes' triggered pictures that were taken for the target.

    Args:
        confusion: Confusion matrix on triggered pictures.
        target: The target class.

    Differs: the published code gives the count (false positives) and no rate; other projects
        divide by all pictures, the target's own among them.
    """
    others = int(confusion.sum() - confusion[target].sum())
    return float(false_positives(confusion)[target] / others) if others else float("nan")


def score(
    labels: Ints, clean: Ints, triggered: Ints | None, target: int | None, classes: int
) -> dict[str, float]:
    """Return all metrics of one evaluation.

    Args:
        labels: True classes of the validation pictures, (N,).
        clean: Predictions without trigger, (N,).
        triggered: Predictions with the trigger, (N,); ``None`` without an attack.
        target: Target class; ``None`` for an untargeted attack or none.
        classes: Number of classes.

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
                metrics["asr"] = attack_success_rate(confusion, target)
    return metrics
