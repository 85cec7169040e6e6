"""A share becomes a count by decimal arithmetic, the same everywhere."""

from decimal import Decimal

import numpy as np
import pytest

from backbench.options.base import count_of
from backbench.plugin import selection_split
from backbench_attacks.patch_options import Rate
from backbench_evaluators.evaluator_options import labels_of_class

HUNDREDTHS = [f"0.{i:02d}" for i in range(1, 100)]


@pytest.mark.parametrize("written", HUNDREDTHS)
def test_a_hundredth_of_a_hundred_is_a_whole_number(written):
    wanted = int(written[2:])
    share = float(written)
    assert count_of(share, 100) == count_of(Decimal(written), 100) == wanted
    assert count_of(share, 100, nearest=True) == wanted
    assert labels_of_class(100, share) == wanted
    assert Rate(of="target_class", value=share).count(100, 1000) == wanted
    assert Rate(of="dataset", value=share).count(100, 100) == wanted
    apart = selection_split(np.zeros(100, np.int64), share, seed=0)[1]
    assert len(apart) == wanted


def test_a_product_is_cut_or_rounded_to_the_nearest():
    assert [count_of(0.29, 50), count_of(0.29, 50, nearest=True)] == [14, 14]
    assert [count_of(0.27, 10), count_of(0.27, 10, nearest=True)] == [2, 3]
    assert count_of(1e-9, 100) == 0


@pytest.mark.parametrize("rate", [0.05, 0.01, 0.5, 0.1, 0.2])
def test_published_rates_give_the_published_counts(rate):
    assert all(count_of(rate, n) == int(rate * n) for n in range(200_000))
