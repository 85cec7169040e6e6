"""Separation of poisoned training images from clean images by scores: pure functions.

Among equal scores none is first: a whole tie is on one side of a threshold, and where a count
cuts through a tie, what is expected of a random order of it counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Lengths of the list of most suspicious images whose precision is reported.
LENGTHS = (5, 10, 20, 50, 100, 500)

#: Share of the clean images that may be accused where recall is reported.
FALSE_POSITIVES = 0.01


def roc(scores: Scores, poisoned: Flags) -> tuple[Scores, Scores]:
    """Return false and true positive rates at each threshold, from (0, 0) to (1, 1)."""
    hits, alarms = (np.append(0, counted) for counted in _counts(scores, poisoned))
    return alarms / alarms[-1], hits / hits[-1]


def auroc(scores: Scores, poisoned: Flags) -> float:
    """Return the probability that a poisoned image scores higher than a clean one; ties: half."""
    hits, alarms = _counts(scores, poisoned)
    # below the curve: trapezoids, so that a tie counts half
    area = np.trapezoid(np.append(0, hits), np.append(0, alarms))
    return float(area / (hits[-1] * alarms[-1]))


def average_precision(scores: Scores, poisoned: Flags) -> float:
    """Return the mean precision over the thresholds, each weighted by the recall that it adds."""
    hits, alarms = _counts(scores, poisoned)
    return float((np.diff(hits, prepend=0) * hits / (hits + alarms)).sum() / hits[-1])


def precision_at(scores: Scores, poisoned: Flags, length: int) -> float:
    """Return the share of poisoned images among so many of the most suspicious ones, at most N."""
    hits, alarms = _counts(scores, poisoned)
    total = hits + alarms
    return float(np.interp(length, np.append(0, total), np.append(0, hits)) / length)


def recall_at(scores: Scores, poisoned: Flags, false_positives: float = FALSE_POSITIVES) -> float:
    """Return the highest share of the poisons above a threshold that accuses few clean images."""
    hits, alarms = _counts(scores, poisoned)
    allowed = alarms <= false_positives * alarms[-1]
    return float(hits[allowed].max(initial=0) / hits[-1])


def detection(scores: Scores, poisoned: Flags) -> dict[str, float]:
    """Return all metrics of a defense that scores training images and drops those above 0.

    Returns:
        Metrics by name: shares in [0, 1], ``dropped`` and ``clean_lost`` are counts. Of a clean
        training set only what was lost of it; no precision where nothing was dropped.
    """
    dropped = scores > 0
    poisons = int(poisoned.sum())
    clean = len(scores) - poisons
    found = {"dropped": float(dropped.sum()), "clean_lost": float((dropped & ~poisoned).sum())}
    if clean:
        found["clean_lost_share"] = found["clean_lost"] / clean
    if poisons:
        found["recall"] = float((dropped & poisoned).sum() / poisons)
        if dropped.any():
            found["precision"] = float((dropped & poisoned).sum() / dropped.sum())
        found["average_precision"] = average_precision(scores, poisoned)
        for length in LENGTHS:
            if length <= len(scores):
                found[f"precision_at_{length}"] = precision_at(scores, poisoned, length)
        found["precision_at_poisons"] = precision_at(scores, poisoned, poisons)
    if poisons and clean:
        found["auroc"] = auroc(scores, poisoned)
        found["recall_at_1pct_fp"] = recall_at(scores, poisoned)
    return {f"detection/{name}": value for name, value in found.items()}


def _counts(scores: Scores, poisoned: Flags) -> tuple[Scores, Scores]:
    """Return how many poisoned and clean images score at least each distinct score, falling."""
    _, rank = np.unique(-scores, return_inverse=True)
    hits = np.bincount(rank, weights=poisoned).cumsum()
    alarms = np.bincount(rank, weights=~poisoned).cumsum()
    return hits, alarms
