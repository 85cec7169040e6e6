from __future__ import annotations

import hashlib

import numpy as np
import pytest

from backbench_ssl.jigsaw import distant_permutations


def distances(permutations: np.ndarray) -> np.ndarray:
    pairs = (permutations[:, None] != permutations[None]).sum(2)
    return pairs[np.triu_indices(len(permutations), 1)]


@pytest.fixture(scope="module")
def hundred() -> np.ndarray:
    return distant_permutations(100)


def test_they_are_distinct_permutations(hundred: np.ndarray):
    assert np.array_equal(np.sort(hundred, axis=1), np.tile(np.arange(9), (100, 1)))
    assert len(np.unique(hundred, axis=0)) == 100
    assert not (hundred == np.arange(9)).all(1).any()


def test_the_mean_distance_is_the_greatest_there_is(hundred: np.ndarray):
    # 100 values in nine places of nine kinds each: with eleven or twelve of a kind, the number
    # of pairs that agree is least.
    agreeing = 9 * (8 * 11 * 10 + 12 * 11) / 2
    assert distances(hundred).sum() <= 100 * 99 / 2 * 9 - agreeing
    assert distances(hundred).mean() == pytest.approx(8 + 8 / 99, abs=0.01)
    assert distances(hundred).min() >= 4


def test_a_longer_set_begins_with_a_shorter_one(hundred: np.ndarray):
    assert np.array_equal(distant_permutations(10), hundred[:10])
    assert distances(hundred[:8]).min() == 9


def test_the_set_is_part_of_the_results(hundred: np.ndarray):
    digest = hashlib.sha256(hundred.astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "515e204cb9497d05"
