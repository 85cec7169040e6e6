"""Quantiles against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri, stdtrit

from backbench.results.quantiles import normal_quantile, student_quantile

SHARES = (0.75, 0.95, 0.975, 0.995)


@pytest.mark.parametrize("share", SHARES)
def test_students_quantiles_are_those_of_scipy(share: float) -> None:
    """Few and many degrees of freedom, whole or not, on both sides of where a series takes over."""
    degrees = np.concatenate([np.geomspace(1, 1e9, 91), [2, 3, 9, 199.9, 200, 200.1, np.inf]])
    found = student_quantile(degrees.reshape(2, -1), share)
    assert found.ravel() == pytest.approx(stdtrit(degrees, share), rel=1e-12)


@pytest.mark.parametrize("share", SHARES)
def test_normal_quantiles_are_those_of_scipy(share: float) -> None:
    assert normal_quantile(share) == pytest.approx(ndtri(share), rel=1e-14)


def test_what_is_no_number_stays_none() -> None:
    found = student_quantile([2.0, np.nan], 0.975)
    assert np.isfinite(found).tolist() == [True, False]
