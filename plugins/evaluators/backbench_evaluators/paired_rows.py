"""The effect of a defense in one number: metrics on a row with a defense, and without it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbench.plugin import Predicted

Ints = NDArray[np.int64]


def effectiveness(
    labels: Ints, defended: Predicted, undefended: Predicted, target: int | None, classes: int
) -> float | None:
    """Return the defense effectiveness rating, DER.

    With ΔASR and ΔACC, the attack success and the clean accuracy that the defense takes away, it
    is (max(0, ΔASR) − max(0, ΔACC) + 1) / 2: 1 where all success is gone and no accuracy, .5 where
    nothing happened, 0 where only accuracy is gone.

    Args:
        labels: True classes, (N,).
        defended: Predictions of the row with a defense.
        undefended: Those of the same row without.
        target: The target class.
        classes: Number of classes.

    Returns:
        A number in [0, 1]; ``None`` without a target.

    Source: Zhu et al. 2023 (FT-SAM), equation 7. BackdoorBench has it as
        `defense_effectiveness_rate_simplied` of `utils/metric.py`.
    Differs: BackdoorBench's function of predictions, `defense_effectiveness_rate`, adds the
        accuracy that is lost; the equation subtracts it, and so do we.
    """
    del classes
    before, after, others = undefended.triggered, defended.triggered, labels != target
    if target is None or before is None or after is None or not others.any():
        return None
    removed = _share(before == target, others) - _share(after == target, others)
    return _rating(removed, labels, defended, undefended)


def robustness(
    labels: Ints, defended: Predicted, undefended: Predicted, target: int | None, classes: int
) -> float | None:
    """Return the robust improvement rate, RIR.

    With ΔRA the robust accuracy that the defense brings back, the share of triggered images of
    other classes than the target's that are recognized, it is (max(0, ΔRA) − max(0, ΔACC) + 1) / 2.

    The arguments are those of :func:`effectiveness`.

    Returns:
        A number in [0, 1]; ``None`` without an attack.

    Source: BackdoorBench, `robust_improvement_rate_simplied` of `utils/metric.py`, and the comment
        above `robust_improvement_rate`: there ΔRA is the robust accuracy before the defense less
        that after it, so that it stands with a minus.
    Differs: BackdoorBench's function of predictions, `robust_improvement_rate`, adds the accuracy
        that is lost; its comment and the other function subtract it, and so do we. Of an untargeted
        attack, all images count.
    """
    del classes
    counted = np.ones(len(labels), dtype=bool) if target is None else labels != target
    before, after = undefended.triggered, defended.triggered
    if before is None or after is None or not counted.any():
        return None
    restored = _share(after == labels, counted) - _share(before == labels, counted)
    return _rating(restored, labels, defended, undefended)


def _rating(gain: float, labels: Ints, defended: Predicted, undefended: Predicted) -> float:
    lost = float((undefended.clean == labels).mean() - (defended.clean == labels).mean())
    return (max(0.0, gain) - max(0.0, lost) + 1) / 2


def _share(hits: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float(hits[of].mean())
