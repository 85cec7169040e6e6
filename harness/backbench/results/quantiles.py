"""Quantiles of Student's t and of the normal distribution.

Every table needs them, and importing those of scipy takes longer than making a table.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Nodes of the quadrature: quantiles up to .995 are right to twelve digits and more.
_NODES: Final = 64

#: Above so many degrees of freedom the ratio of two gamma functions comes from its series.
_LARGE: Final = 200.0

#: Coefficients of Γ(x + 1/2) / (√x Γ(x)) by powers of 1 / x.
_SERIES: Final = (1.0, -1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144, 869 / 4194304)

#: Newton's steps double the right digits: after one as small as this, all are right.
_SMALL: Final = 1e-8
_STEPS: Final = 50


def normal_quantile(share: float) -> float:
    """Return the quantile of the standard normal distribution, ``share`` in (0, 1)."""
    return NormalDist().inv_cdf(share)


def student_quantile(degrees: Any, share: float) -> NDArray[np.float64]:
    """Return quantiles of Student's t.

    With t = √ν tan θ, the density over θ is cos θ to the power ν - 1, times a constant. Its
    integral is finite and concave in θ, so that Newton's steps find the angle of the quantile.

    Args:
        degrees: Degrees of freedom ν, at least 1, of any shape; they need not be whole. Of
            infinitely many the distribution is normal.
        share: The share of the distribution that lies below the quantile, in (.5, .995].

    Returns:
        Quantiles of the shape of ``degrees``; not a number where ``degrees`` is none.
    """
    degrees = np.asarray(degrees, float)
    normal = normal_quantile(share)
    found = np.where(np.isnan(degrees), np.nan, normal)
    finite = np.isfinite(degrees)
    if finite.any():
        found[finite] = _student(degrees[finite], share, normal)
    return found


def _student(degrees: NDArray[np.float64], share: float, normal: float) -> NDArray[np.float64]:
    """Return quantiles, (K,), of finite degrees of freedom, (K,)."""
    nodes, weights = _quadrature()
    power = (degrees - 1) / 2
    area = (share - 0.5) / np.array([_density(one) for one in degrees.tolist()])
    start = normal + (normal**3 + normal) / (4 * degrees)  # Fisher's expansion
    angle = np.arctan(start / np.sqrt(degrees))
    for _ in range(_STEPS):
        heights = np.exp(power[:, None] * np.log1p(-(np.sin(np.outer(angle, nodes)) ** 2)))
        step = (area / angle - heights[:, :-1] @ weights) / heights[:, -1]
        angle *= 1 + step
        if np.abs(step).max() < _SMALL:
            break
    return np.sqrt(degrees) * np.tan(angle)


def _density(degrees: float) -> float:
    """Return the density over θ at θ = 0: Γ((ν + 1) / 2) / (√π Γ(ν / 2))."""
    half = degrees / 2
    if degrees <= _LARGE:
        ratio = math.gamma(half + 0.5) / math.gamma(half)
    else:
        ratio = math.sqrt(half) * sum(one * half**-at for at, one in enumerate(_SERIES))
    return ratio / math.sqrt(math.pi)


@lru_cache(maxsize=1)
def _quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the nodes of the Gauss-Legendre quadrature on [0, 1], then 1; and its weights."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return np.append((nodes + 1) / 2, 1.0), weights / 2
