"""Summaries, intervals and what they cover, corrections, pairs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from backbench.metrics import Outcome
from backbench.results.statistics import (
    Error,
    Sample,
    effect_size,
    error_of,
    error_over_both,
    error_over_seeds,
    holm,
    interval,
    paired,
    sample_of,
    summarize,
)


def hits_of(rates: list[float], images: int = 200, seed: int = 0) -> NDArray[np.int8]:
    rng = np.random.default_rng(seed)
    return (rng.random((len(rates), images)) < np.array(rates)[:, None]).astype(np.int8)


def sample(hits: NDArray[np.int8], scale: float = 1.0) -> Sample:
    seeds = range(len(hits))
    images = np.arange(hits.shape[1])
    return sample_of({seed: Outcome(hits[seed], images, scale) for seed in seeds})


def test_one_seed_has_no_spread() -> None:
    found = summarize([0.5])
    assert (found.n, found.mean, found.std, found.ci95) == (1, 0.5, None, None)
    assert found.over == ""
    assert summarize(sample(hits_of([0.5]))).ci95 is None


def test_three_seeds_by_scipy() -> None:
    values = [0.90, 0.94, 0.92]
    found = summarize(values)
    low, high = stats.t.interval(0.95, 2, loc=found.mean, scale=stats.sem(values))
    assert found.mean == pytest.approx(0.92)
    assert found.std == pytest.approx(0.02)
    assert found.ci95 == pytest.approx((low, high))
    assert found.over == "seeds"


def test_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        summarize([])


# -- the error of a mean over seeds and images -----------------------------------------------


def test_mean_squares_of_a_table_made_by_hand() -> None:
    # Means of the seeds 2, 4; of the images 1, 3, 5: A = 6, B = 8, nothing is left.
    error = error_over_both(np.array([[0, 2, 4], [2, 4, 6]]))
    assert error.seeds == pytest.approx(6 / 6)
    assert error.images == pytest.approx(8 / 6)
    assert error.least == pytest.approx(0, abs=1e-9)
    half = stats.t.ppf(0.975, 1 / (6 / 14)) * np.sqrt(14 / 6)
    assert error.half_width() == pytest.approx(half)


def test_without_seeds_that_differ_it_is_the_bootstrap_over_images() -> None:
    """Every seed says the same: what is left is the error of one sample of images."""
    one = hits_of([0.3], 150)
    error = error_over_both(np.repeat(one, 4, axis=0))
    drawn = stats.bootstrap(
        (one[0].astype(float),), np.mean, n_resamples=4000, rng=np.random.default_rng(0)
    )
    assert error.seeds == 0
    assert np.sqrt(error.images) == pytest.approx(stats.sem(one[0]))
    assert np.sqrt(error.images) == pytest.approx(float(drawn.standard_error), rel=0.05)
    assert error.p_value(0.1) == pytest.approx(2 * stats.norm.sf(0.1 / stats.sem(one[0])))
    low, high = drawn.confidence_interval
    assert float(error.half_width()) == pytest.approx((high - low) / 2, rel=0.05)


def test_where_only_seeds_differ_it_is_students_t_over_seeds() -> None:
    """All images of a seed are alike: the table says no more than its margin."""
    means = np.array([0.2, 0.5, 0.6])
    both, seeds = error_over_both(np.repeat(means[:, None], 50, axis=1)), error_over_seeds(means)
    assert both.half_width() == pytest.approx(seeds.half_width())
    assert both.p_value(0.4) == pytest.approx(stats.ttest_1samp(means - means.mean() + 0.4, 0)[1])


def test_p_values_by_drawing_both_errors() -> None:
    """The seeds' t and the images' normal error, added by chance a million times."""
    error = error_over_both(hits_of([0.3, 0.5, 0.4]))
    rng = np.random.default_rng(0)
    drawn = rng.standard_t(2, 10**6) * np.sqrt(error.seeds)
    drawn += rng.normal(0, np.sqrt(error.images + 0.001), 10**6)
    both = Error(error.seeds, error.images + 0.001, 0.0, 3)
    for mean in (0.1, 0.3, 1.0):
        assert both.p_value(mean) == pytest.approx(np.mean(np.abs(drawn) > mean), rel=0.05)
        assert both.p_value(-mean) == both.p_value(mean)
    assert both.p_value(0.0) == pytest.approx(1)


@pytest.mark.parametrize("n", [2, 3, 10])
@pytest.mark.parametrize("mean", [0.5, 5.0, 100.0])
def test_p_values_of_seeds_alone_are_students(n: int, mean: float) -> None:
    nothing = np.zeros(())
    found = Error(np.ones(()), nothing, nothing, n).p_value(mean)
    assert found == pytest.approx(2 * stats.t.sf(mean, n - 1), rel=1e-3)


def test_a_p_value_is_not_below_five_percent_before_the_interval_is_beyond_0() -> None:
    for k in range(20):
        error = error_over_both(hits_of([0.3, 0.5, 0.4], seed=k))
        assert error.p_value(error.half_width()) > 0.05 - 1e-9


def test_three_images_in_three_seeds_are_no_proof() -> None:
    """One image each, all in one direction: the seeds agree fully, and yet it is a coin thrice."""
    hits = np.zeros((3, 300), np.int8)
    hits[[0, 1, 2], [10, 20, 30]] = 1
    error = error_over_both(hits)
    assert error.p_value(hits.mean()) == pytest.approx(2 * stats.norm.sf(3 / np.sqrt(3)), rel=0.02)


@pytest.mark.parametrize("value", [0, 1])
def test_what_never_or_always_happens_is_not_certain(value: int) -> None:
    found = summarize(sample(np.full((3, 100), value, np.int8), scale=100))
    exact = stats.binomtest(100 * value, 100).proportion_ci(0.95)
    assert found.ci95 == pytest.approx((100 * exact.low, 100 * exact.high))


def test_no_difference_on_any_image_is_not_certain_either() -> None:
    hits = hits_of([0.3, 0.5, 0.4])
    found = summarize(paired(sample(hits), sample(hits)))
    assert found.ci95 is not None
    assert found.ci95[0] == -found.ci95[1] < 0


def test_one_image_says_nothing_of_others() -> None:
    found = summarize(sample(np.array([[1], [0], [1]], np.int8)))
    assert found.over == "seeds"
    assert found.ci95 == pytest.approx(summarize([1, 0, 1], (0.0, 1.0)).ci95)


def test_a_count_is_its_rate_scaled() -> None:
    hits = hits_of([0.3, 0.5, 0.4])
    rate, count = summarize(sample(hits)), summarize(sample(hits, 200))
    assert rate.over == "seeds and images"
    assert rate.ci95 is not None
    assert count.ci95 == pytest.approx([200 * end for end in rate.ci95])


@pytest.mark.parametrize(("images", "excludes_zero"), [(3, False), (5, False), (6, True)])
def test_a_difference_on_every_image_is_the_sign_test(images: int, excludes_zero: bool) -> None:
    ones = np.ones((2, images), np.int8)
    difference = paired(sample(ones), sample(ones - 1))
    error, found = error_of(difference), summarize(difference).ci95
    assert error is not None
    assert found is not None
    exact = stats.binomtest(images, images).pvalue
    assert error.p_value(difference.mean) == pytest.approx(exact)
    assert (found[0] > 0) == (exact < 0.05) == excludes_zero


def test_outcomes_of_differences_of_differences_reach_twice_as_far() -> None:
    """Lifts have outcomes of -1 to 1, so that two of them differ by up to 2."""
    hits = sample(hits_of([0.3, 0.5]))
    lift = paired(hits, hits)
    once, twice = summarize(lift).ci95, summarize(paired(lift, lift)).ci95
    assert once is not None
    assert twice == pytest.approx([2 * end for end in once])


@pytest.mark.parametrize("values", [(1.0, 1.0), (0.5, 0.5, 0.5), (0.6 - 0.5, 0.7 - 0.6)])
def test_seeds_that_agree_are_no_proof_where_outcomes_are_not_known(
    values: tuple[float, ...],
) -> None:
    found = summarize(values, (0.0, 1.0))
    assert found.std == pytest.approx(0, abs=1e-12)
    assert (found.n, found.ci95, found.over) == (len(values), None, "")
    assert error_of(Sample(tuple(range(len(values))), values)) is None
    assert effect_size(values) is None


# -- bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("hits", [1, 3, 50, 97])
def test_within_bounds_it_is_wilsons_interval(hits: int) -> None:
    """With the normal half width of 100 independent outcomes it is scipy's."""
    half = stats.norm.ppf(0.975) * np.sqrt(hits * (100 - hits) / 100**3)
    exact = stats.binomtest(hits, 100).proportion_ci(0.95, method="wilson")
    assert interval(hits / 100, half, (0, 1)) == pytest.approx((exact.low, exact.high))
    count = interval(hits, 100 * half, (0, 100))
    assert count == pytest.approx((100 * exact.low, 100 * exact.high))


def test_a_large_range_is_that_of_a_count() -> None:
    """Every μ that is as near to 5 as 2 · √(μ / 5): the roots of (5 - μ)² = .8 μ."""
    found = interval(5.0, 2.0, (0.0, np.inf))
    assert found == pytest.approx(tuple(sorted(np.roots([1, -10.8, 25]))))
    assert interval(5.0, 2.0, (0.0, 1e9))[1] == pytest.approx(found[1])


def test_nothing_leaves_its_bounds_and_differences_have_none() -> None:
    values = [0.0, 0.01, 0.03]
    low, high = summarize(values).ci95 or (0.0, 0.0)
    assert low < 0 < high
    assert low == pytest.approx(2 * np.mean(values) - high)
    within = summarize(values, (0.0, 1.0)).ci95
    assert within is not None
    assert 0 < within[0] < np.mean(values) < within[1] < 1
    counts = summarize([0, 1, 8], (0.0, np.inf)).ci95
    assert counts is not None
    assert 0 < counts[0] < 3 < counts[1]


def test_in_the_middle_bounds_change_little() -> None:
    low, high = interval(0.5, 0.03, (0, 1))
    assert (low, high) == pytest.approx((0.47, 0.53), abs=1e-4)


# -- coverage ----------------------------------------------------------------------------------


def simulated(
    seeds: int,
    rate: float,
    of_seeds: float,
    of_images: float,
    *,
    of: np.random.Generator,
    images: int = 100,
) -> NDArray[np.int8]:
    """Draw outcomes of many benchmarks, (6000 / seeds, seeds, images); the rate is the truth.

    An image is hit where normal numbers of the seed, of the image and of both exceed a bound:
    their standard deviations are given, the last one's is 1.
    """
    repeats = 6000 // seeds
    shape = (repeats, seeds, images)
    bound = stats.norm.ppf(rate) * np.sqrt(1 + of_seeds**2 + of_images**2)
    latent = of.standard_normal(shape, dtype=np.float32)
    latent += of.normal(0, of_seeds, (repeats, seeds, 1)) if of_seeds else 0
    latent += of.normal(0, of_images, (repeats, 1, images)) if of_images else 0
    return (latent + bound > 0).astype(np.int8)


#: Standard deviation between seeds and between images; from "only images differ" to "seeds do".
SPREADS = [(0.0, 1.0), (0.05, 1.0), (0.1, 1.0), (0.2, 1.0), (0.3, 1.0), (0.3, 0.3)]


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_cover_the_truth(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    covered = {}
    for spread in SPREADS:
        found = []
        for rate in (0.5, 0.8):
            hits = simulated(seeds, rate, *spread, of=rng)
            error = error_over_both(hits)
            low, high = interval(hits.mean(axis=(1, 2)), error.half_width(), (0, 1))
            found.append((low <= rate) & (rate <= high))
        covered[spread] = float(np.mean(found))
    assert all(0.93 <= share <= 0.97 for share in covered.values()), covered


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.95])
def test_intervals_of_skewed_rates_cover_the_truth(rate: float) -> None:
    """Without Wilson's form .90 to .93 of them would, where seeds differ."""
    rng = np.random.default_rng(0)
    covered, plain = [], []
    for seeds in (3, 5):
        hits = simulated(seeds, rate, 0.3, 0.3, of=rng, images=400)
        mean, half = hits.mean(axis=(1, 2)), error_over_both(hits).half_width()
        for bounds, found in (((0, 1), covered), (None, plain)):
            low, high = interval(mean, half, bounds)
            found.append(float(np.mean((low <= rate) & (rate <= high))))
            assert bounds is None or (low.min() >= 0 and high.max() <= 1)
    assert 0.93 <= np.mean(covered) <= 0.97
    assert np.mean(plain) < np.mean(covered) - 0.01


def test_an_interval_over_seeds_alone_does_not_cover_other_images() -> None:
    """Why images are in it: of the truth of all images, Student's t over seeds knows little."""
    hits = simulated(5, 0.5, 0.05, 1.0, of=np.random.default_rng(0))
    means = hits.mean(axis=2)
    half = error_over_seeds(means).half_width()
    assert np.mean(np.abs(means.mean(axis=1) - 0.5) <= half) < 0.90


def test_a_percentile_bootstrap_of_three_seeds_does_not_cover() -> None:
    """Why it is Student's t: three seeds drawn from three are often the same."""
    rng = np.random.default_rng(0)
    hits = simulated(3, 0.5, 0.3, 1.0, of=rng)
    draws = rng.integers(0, 3, (400, 3))
    drawn = hits.mean(axis=2)[:, draws].mean(axis=2)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0.5) & (high >= 0.5)) < 0.80


# -- pairs, effects, families ------------------------------------------------------------------


def test_pairs_are_of_the_same_seeds_and_images() -> None:
    one, other = sample(hits_of([0.3, 0.5, 0.4])), sample(hits_of([0.2, 0.4], seed=1))
    found = paired(one, other)
    assert found.seeds == (0, 1)
    assert one.hits is not None
    assert other.hits is not None
    assert found.hits is not None
    assert (found.hits == one.hits[:2] - other.hits).all()
    assert found.values == pytest.approx(found.hits.mean(axis=1))


def test_other_images_are_paired_by_seed_only() -> None:
    one, other = sample(hits_of([0.3, 0.5], 200)), sample(hits_of([0.3, 0.5], 100))
    assert paired(one, other).hits is None
    assert paired(one, sample(hits_of([0.2, 0.4]), 200)).hits is None


def test_outcomes_that_are_not_the_metrics_are_left_out() -> None:
    outcome = Outcome(np.array([1, 0], np.int8), np.arange(2))
    assert sample_of({0: outcome}).hits is not None
    assert sample_of({0: outcome, 1: 0.5}).hits is None
    assert sample_of({0: outcome, 1: 0.5}).values == (0.5, 0.5)


def test_effect_size() -> None:
    assert effect_size([0.1, 0.3, 0.2]) == pytest.approx(2.0)
    assert effect_size([0.1]) is None
    assert effect_size([0.1, 0.1]) is None


def test_holm_by_hand() -> None:
    assert holm([]) == []
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
