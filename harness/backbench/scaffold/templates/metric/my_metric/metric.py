"""The metric. It is computed when results are read: do not import torch here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def my_metric(
    labels: Indices,
    clean: Indices,
    triggered: Indices | None,
    target: int | None,  # noqa: ARG001
    classes: int,  # noqa: ARG001
) -> float | None:
    """Return the accuracy of the class that fares worst, in [0, 1].

    Args:
        labels: True classes, (N,).
        clean: Predictions without the trigger, (N,).
        triggered: Predictions with the trigger, (N,); ``None`` without an attack.
        target: The target class; ``None`` where there is none.
        classes: Number of classes.

    Returns:
        ``None`` where the metric has no meaning.
    """
    found = clean if triggered is None else triggered
    shares = [float((found[labels == one] == one).mean()) for one in np.unique(labels)]
    return min(shares, default=None)
