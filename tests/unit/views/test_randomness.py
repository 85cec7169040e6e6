from __future__ import annotations

import numpy as np
import pytest

from backbench.views.randomness import Draws, mix

MASK = 2**64 - 1


def splitmix(word: int) -> int:
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def test_mix_is_splitmix64():
    # The first outputs of SplitMix64 with seed 1234567, as published with its test vectors.
    step = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + step * (i + 1)) & MASK for i in range(3)], dtype=np.uint64)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert mix(states).tolist() == expected
    assert [splitmix(int(s)) for s in states] == expected


def draws(indices: list[int], seed: int = 5, epoch: int = 2, view: int = 1) -> Draws:
    return Draws(seed, epoch, np.asarray(indices), view)


def test_numbers_do_not_depend_on_the_batch():
    whole = draws([3, 1, 4, 15]).uniform(7, 6)
    assert np.array_equal(draws([15]).uniform(7, 6)[0], whole[3])
    assert np.array_equal(draws([4, 3]).uniform(7, 2), whole[[2, 0], :2])


@pytest.mark.parametrize("change", [{"seed": 6}, {"epoch": 3}, {"view": 0}])
def test_every_part_of_the_key_counts(change: dict[str, int]):
    assert not np.isin(draws([0, 1], **change).uniform(0, 8), draws([0, 1]).uniform(0, 8)).any()


def test_purposes_are_independent():
    numbers = draws(list(range(2000)))
    pair = np.corrcoef(numbers.uniform(0, 1)[:, 0], numbers.uniform(1, 1)[:, 0])
    assert abs(pair[0, 1]) < 0.06


def test_seeds_of_63_bits():
    assert draws([0], seed=2**63 - 1).uniform(0, 1).shape == (1, 1)


def test_numbers_are_uniform():
    numbers = draws(list(range(500))).uniform(3, 200).ravel()
    assert numbers.dtype == np.float32
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    chi_squared = np.square(counts - 1000).sum() / 1000
    assert 55 < chi_squared < 150  # 99 degrees of freedom: beyond either with p < 0.001


def test_integers_reach_both_ends():
    numbers = draws(list(range(300))).integers(0, 5, 4)
    assert sorted(set(numbers.ravel().tolist())) == [0, 1, 2, 3, 4]


def test_integers_with_a_bound_a_image():
    numbers = draws([0, 1]).integers(0, np.array([[1], [1000]]), 50)
    assert numbers[0].max() == 0
    assert numbers[1].max() > 500
