"""Summaries over seeds."""

from __future__ import annotations

import pytest
from scipy import stats

from backbench.statistics import summarize


def test_one_seed_has_no_spread() -> None:
    found = summarize([0.5])
    assert (found.n, found.mean, found.std, found.ci95) == (1, 0.5, None, None)


def test_three_seeds_by_scipy() -> None:
    values = [0.90, 0.94, 0.92]
    found = summarize(values)
    low, high = stats.t.interval(0.95, 2, loc=found.mean, scale=stats.sem(values))
    assert found.mean == pytest.approx(0.92)
    assert found.std == pytest.approx(0.02)
    assert found.ci95 == pytest.approx((high - low) / 2)


def test_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        summarize([])
