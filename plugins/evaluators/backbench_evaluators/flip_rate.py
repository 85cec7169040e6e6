"""Images that the trigger turns: a metric on stored predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def flip_rate(
    labels: Ints, clean: Ints, triggered: Ints | None, target: int | None, classes: int
) -> float | None:
    """Return the share of recognized images of other classes that are turned to the target.

    An image that the classifier fails on without the trigger cannot be turned by it, and does not
    count: an encoder that is bad on clean images does not seem robust or fallen for that.

    The arguments are those of each metric, see :class:`backbench.plugin.MetricInfo`.

    Returns:
        A share in [0, 1]; ``None`` without a target, or where no such image is recognized.
    """
    del classes
    if triggered is None or target is None:
        return None
    counted = (labels == clean) & (labels != target)
    total = np.count_nonzero(counted)
    return np.count_nonzero(counted & (triggered == target)) / total if total else None
