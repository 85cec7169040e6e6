"""Numbers over seeds: mean, spread, interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """What a metric comes to over seeds.

    Args:
        n: Number of seeds.
        mean: Their mean.
        std: Sample standard deviation (n - 1); ``None`` for one seed.
        ci95: Half-width of the 95 % interval of the mean over seeds, Student's t with n - 1
            degrees of freedom; ``None`` for one seed.
        values: The values, in the seeds' order.
    """

    n: int
    mean: float
    std: float | None
    ci95: float | None
    values: tuple[float, ...]


def summarize(values: Sequence[float]) -> Summary:
    """Summarize a metric over seeds.

    Args:
        values: At least one finite value, one a seed.

    Raises:
        ValueError: If there is none.
    """
    n = len(values)
    if n == 0:
        raise ValueError("nothing to summarize")
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(1, mean, None, None, tuple(values))
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    from scipy.special import stdtrit  # late: only tables need it

    half = float(stdtrit(n - 1, 0.975)) * std / math.sqrt(n)
    return Summary(n, mean, std, half, tuple(values))
