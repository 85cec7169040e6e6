"""Numbers over seeds and images: mean, spread, interval, difference.

A number of the leaderboard is a mean over two things that could have come out otherwise: the seeds
and the images. All encoders of a row see the same images, so the two are crossed, and their
shares of the error follow from the mean squares of a two-way table (see ``Error``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backbench.metrics import Outcome
from backbench.results.quantiles import normal_quantile, student_quantile

#: With how much confidence an interval holds what it is of.
CONFIDENCE = 0.95

#: The spread of fewer seeds means little.
FEW = 3

#: Sources of chance that an interval allows for; empty where there is no interval.
Over = Literal["seeds and images", "seeds", ""]

#: The least and the greatest value that a number can have: (0, 1) of a share, (0, inf) of a count.
Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of a metric over n seeds: mean, sample standard deviation (n - 1), 95 % interval.

    One seed has no deviation and no interval. ``values`` are in the order of the seeds. The
    interval allows ``over`` other seeds and other images where the outcome on every image is known,
    else over other seeds only; then there is none where the seeds agree, see :func:`errors_of`.
    """

    n: int
    mean: float
    std: float | None
    ci95: tuple[float, float] | None
    values: tuple[float, ...]
    over: Over = ""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A metric, seed by seed, and what it was on every image.

    Args:
        seeds: The seeds, n of them.
        values: The metric of each.
        hits: Outcomes by seed and image, (n, N), N at least 2, or differences of outcomes;
            ``None`` where they are not known, or not of the same images for all seeds.
        images: Which images these are, (N,).
        scale: What the mean outcome is multiplied by to give a value.
        bounds: What the values cannot leave; ``None`` for differences, which may have any sign.
        span: The least and the greatest value that one of ``hits`` can have.
    """

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    hits: NDArray[Any] | None = None
    images: NDArray[np.int64] | None = None
    scale: float = 1.0
    bounds: Bounds | None = None
    span: Bounds = (0.0, 1.0)

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return math.fsum(self.values) / len(self.values)


@dataclass(frozen=True, slots=True)
class Error:
    """Distance that means may have from what they estimate.

    With the mean squares of a two-way table of n seeds and N images, A between seeds, B between
    images and E of what is left, the variance of the mean is that of the seeds, A / nN, and that
    of the images, max(B - E, 0) / nN. Intervals and p values are those of Student's t over seeds
    where only seeds differ, and normal where only images do; no interval is narrower, no p value
    smaller, than that of nN independent outcomes, of the variance E each. Where an outcome was the
    same on all images, both allow for what rate of others so many images cannot rule out. Of a
    difference of 1 that is the sign test.

    Args:
        seeds: Variance of the means that is due to the seeds.
        images: That is due to the images; 0 where outcomes are not known.
        least: Variance of the mean of as many independent outcomes; 0 likewise.
        n: Number of seeds; one for each mean where it is not the same for all.
        reach: How far the mean could move if every outcome were another one, for means of outcomes
            that were all the same; 0 for others.
        count: Number of images of which that is so.

    Source: mean squares and their expectations as in studies of readers × cases (Obuchowski and
        Rockette, 1995; Hillis, 2007); the exact binomial interval (Clopper and Pearson, 1934) at no
        hit, upper end.
    Differs: Hillis divides the degrees of freedom by the square of the seeds' share, which covers
        .92 to .93 where both weigh alike at n = 3 (docs/adr/0007).
    """

    seeds: Any
    images: Any
    least: Any
    n: Any
    reach: Any = 0.0
    count: Any = 1

    def half_width(self, confidence: float = CONFIDENCE) -> Any:
        """Return half the width of the interval of what has no bounds.

        It is Student's t; its degrees of freedom are n - 1 divided by the seeds' share of the
        variance.
        """
        upper = (1 + confidence) / 2
        both = np.asarray(self.seeds + self.images, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            degrees = np.where(self.seeds > 0, (self.n - 1) * both / self.seeds, np.inf)
        half = student_quantile(degrees, upper) * np.sqrt(both)
        half = np.maximum(half, normal_quantile(upper) * np.sqrt(self.least))
        return np.maximum(half, self.reach * (1 - (1 - upper) ** (1 / np.asarray(self.count))))

    def p_value(self, mean: Any) -> Any:
        """Return the two-sided p value of means other than 0.

        The seeds' error is Student's t of n - 1 degrees of freedom, the images' is normal, and
        the p value is of their sum. Far from 0, where corrections for many comparisons look, it is
        larger than Student's t of the interval would give, which promises too much there.

        Source: the fiducial distribution of Behrens (1929) and Fisher (1935).
        """
        from scipy.special import gammaincinv, ndtr  # late: only comparisons need it

        mean = np.abs(np.asarray(mean, float))
        at, weights = np.polynomial.legendre.leggauss(64)
        at = (at + 1) / 2
        # A variance estimated from n seeds is the true one times chi-squared over n - 1; what the
        # true one may be, at each quantile of chi-squared, densest where it is largest.
        spread = (self.n - 1) / (2 * gammaincinv((self.n - 1) / 2, at**5))
        variance = np.multiply.outer(np.asarray(self.seeds, float), spread)
        variance += np.asarray(self.images, float)[..., None]
        found = ndtr(-_ratio(mean[..., None], np.sqrt(variance))) @ (weights * 2.5 * at**4)
        found = np.maximum(found, ndtr(-_ratio(mean, np.sqrt(self.least))))
        others = np.clip(1 - _ratio(mean, self.reach), 0.0, 1.0) ** self.count
        return np.minimum(1.0, 2 * np.maximum(found, others))


def _ratio(mean: Any, error: Any) -> Any:
    """Divide; a mean of 0 is 0 errors away, any other one infinitely many errors of 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(mean == 0, 0.0, mean / error)


def error_over_seeds(values: Any) -> Error:
    """Return the error of means over seeds alone, of values (..., n), n at least 2."""
    values = np.asarray(values, float)
    n = values.shape[-1]
    variance = values.var(axis=-1, ddof=1) / n
    nothing = np.zeros_like(variance)
    return Error(variance, nothing, nothing, n)


def error_over_both(hits: Any) -> Error:
    """Return the error of means over seeds and images, of outcomes (..., n, N), both at least 2."""
    hits = np.asarray(hits, float)
    n, images = hits.shape[-2:]
    mean = hits.mean(axis=(-2, -1))
    rows = images * ((hits.mean(axis=-1) - mean[..., None]) ** 2).sum(axis=-1)
    columns = n * ((hits.mean(axis=-2) - mean[..., None]) ** 2).sum(axis=-1)
    total = (hits**2).sum(axis=(-2, -1)) - n * images * mean**2
    rest = np.maximum(total - rows - columns, 0.0) / ((n - 1) * (images - 1))
    of_images = np.maximum(columns / (images - 1) - rest, 0.0)
    count = n * images
    return Error(rows / (n - 1) / count, of_images / count, rest / count, n)


def interval(mean: Any, half: Any, bounds: Bounds | None) -> tuple[Any, Any]:
    """Return the ends of an interval, which do not leave the bounds of what is measured.

    Near a bound a number varies less, and the more so the nearer it truly is: a rate μ as μ(1 - μ),
    a count that can be large as μ. The interval holds every μ from which the mean is no further
    away than the half width would be if the variance were that of μ. Far from the bounds that is
    the mean ± the half width.

    Source: the score interval of Wilson (1927); with the number of independent outcomes that would
        give the variance found, as for surveys of clusters (Dean and Pagano, 2015).
    Differs: the quantile is Student's, by the degrees of freedom of ``Error``.
    """
    mean, half = np.asarray(mean, float), np.asarray(half, float)
    if bounds is None:
        return mean - half, mean + half
    low, high = bounds
    span, above = high - low, np.clip(mean - low, 0.0, high - low)
    variance = above * (1 - above / span)
    inside = variance > 0
    units = np.divide(half**2, variance, out=np.zeros_like(half), where=inside)
    center, wide = above + units / 2, np.sqrt(half**2 + units**2 / 4)
    shrunk = 1 + units / span
    return (
        np.where(inside, low + (center - wide) / shrunk, np.maximum(low, mean - half)),
        np.where(inside, low + (center + wide) / shrunk, np.minimum(high, mean + half)),
    )


def error_of(sample: Sample) -> Error | None:
    """Return the error of a sample's mean; ``None`` where :func:`errors_of` has none."""
    return errors_of({"": sample}).get("")


def errors_of(samples: Mapping[str, Sample]) -> dict[str, Error]:
    """Return the errors of the means of those samples that have more than one seed.

    Where outcomes are not known, seeds that agree have none either: how far others would differ is
    estimated from how far these do, and a share that ends at 1 often is 1 for two or three seeds.

    Outcomes of as many seeds and images go through NumPy together, which takes longer to be called
    than to add.
    """
    found: dict[str, Error] = {}
    alike: dict[tuple[int, ...], dict[str, NDArray[Any]]] = {}
    for name, one in samples.items():
        if len(one.seeds) < 2:
            continue
        if one.hits is None:
            if not _agree(one.values):
                found[name] = error_over_seeds(one.values)
        else:
            alike.setdefault(one.hits.shape, {})[name] = one.hits
    for hits in alike.values():
        together = error_over_both(np.stack(list(hits.values())))
        squared = np.array([samples[name].scale ** 2 for name in hits])
        parts = (together.seeds * squared, together.images * squared, together.least * squared)
        for name, seeds, images, least in zip(hits, *parts, strict=True):
            reach = _reach(hits[name], samples[name])
            found[name] = Error(seeds, images, least, together.n, reach, hits[name].shape[1])
    return {name: found[name] for name in samples if name in found}


def summarize(sample: Sample | Sequence[float], bounds: Bounds | None = None) -> Summary:
    """Summarize a metric over seeds, at least one: a sample, or bare values with their bounds."""
    if not isinstance(sample, Sample):
        sample = Sample(tuple(range(len(sample))), tuple(sample), bounds=bounds)
    return summarize_all({"": sample})[""]


def summarize_all(samples: Mapping[str, Sample]) -> dict[str, Summary]:
    """Summarize the metrics of a row, each of at least one seed, their intervals together."""
    if not all(one.values for one in samples.values()):
        raise ValueError("nothing to summarize")
    errors = errors_of(samples)
    ends = _intervals({name: samples[name] for name in errors}, list(errors.values()))
    found = {}
    for name, sample in samples.items():
        mean, values, n = sample.mean, sample.values, len(sample.values)
        if name not in ends:
            over: Over = ""
        else:
            over = "seeds" if sample.hits is None else "seeds and images"
        squares = math.fsum((value - mean) ** 2 for value in values)
        std = math.sqrt(squares / (n - 1)) if n > 1 else None
        found[name] = Summary(n, mean, std, ends.get(name), values, over)
    return found


def interval_of(sample: Sample, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Return the ends of the interval of a sample's mean; ``None`` where it has no error."""
    error = error_of(sample)
    return None if error is None else _intervals({"": sample}, [error], confidence)[""]


def _intervals(
    samples: Mapping[str, Sample], errors: Sequence[Error], confidence: float = CONFIDENCE
) -> dict[str, tuple[float, float]]:
    """Return the ends of the intervals of some metrics; arrays of them cost what one does."""
    if not samples:
        return {}
    parts = [part.name for part in fields(Error)]
    together = Error(*(np.array([getattr(one, part) for one in errors]) for part in parts))
    half = together.half_width(confidence)
    known = [one.bounds for one in samples.values()]
    means = np.array([one.mean for one in samples.values()])
    ends: dict[str, tuple[float, float]] = {}
    for bounds in dict.fromkeys(known):
        chosen = [at for at, one in enumerate(known) if one == bounds]
        low, high = interval(means[chosen], half[chosen], bounds)
        names = [name for name, one in samples.items() if one.bounds == bounds]
        ends |= zip(names, zip(low.tolist(), high.tolist(), strict=True), strict=True)
    return ends


def _reach(hits: NDArray[Any], sample: Sample) -> float:
    """Return how far a mean could move if its outcomes were others; 0 unless all are the same."""
    value = float(hits.min())
    if value != hits.max():
        return 0.0
    least, most = sample.span
    return max(value - least, most - value) * sample.scale


def _agree(values: Sequence[float]) -> bool:
    """Return whether values are equal, but for what subtracting others has rounded."""
    return math.isclose(min(values), max(values), rel_tol=1e-9, abs_tol=1e-12)


def sample_of(found: Mapping[int, Outcome | float], bounds: Bounds | None = None) -> Sample:
    """Put the seeds of a metric together.

    Args:
        found: By seed, the outcomes that the metric is the mean of, or the metric alone. Outcomes
            are left out unless every seed has those of the same images, of two at least.
        bounds: What the values cannot leave; of outcomes it is known.
    """
    seeds = tuple(sorted(found))
    known = [found[seed] for seed in seeds]
    values = tuple(one.value if isinstance(one, Outcome) else one for one in known)
    by_image = [one for one in known if isinstance(one, Outcome)]
    if not known or len(by_image) < len(known):
        return Sample(seeds, values, bounds=bounds)
    first = by_image[0]
    if not all(
        one.scale == first.scale and same_images(one.images, first.images) for one in by_image
    ):
        return Sample(seeds, values, bounds=bounds)
    limits = (0.0, first.scale)
    if len(first.images) < 2:
        return Sample(seeds, values, bounds=limits)
    hits = np.stack([one.hits for one in by_image])
    return Sample(seeds, values, hits, first.images, first.scale, limits)


def same_images(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Return whether two lists of images are equal; most often they are one object."""
    return one is other or np.array_equal(one, other)


def paired(one: Sample, other: Sample, factor: float = 1.0) -> Sample:
    """Return one sample less a factor of the other, seed by seed and image by image.

    Only seeds count that both have, and images only if both are of the same.
    """
    places = {seed: at for at, seed in enumerate(other.seeds)}
    left = [at for at, seed in enumerate(one.seeds) if seed in places]
    seeds = tuple(one.seeds[at] for at in left)
    right = [places[seed] for seed in seeds]
    pairs = zip(left, right, strict=True)
    values = tuple(one.values[i] - factor * other.values[j] for i, j in pairs)
    if one.hits is None or other.hits is None or one.images is None or other.images is None:
        return Sample(seeds, values)
    if one.scale != other.scale or not same_images(one.images, other.images):
        return Sample(seeds, values)
    mine, theirs = one.hits[left], other.hits[right]
    hits = mine - theirs if factor == 1 else mine - factor * theirs
    (low, high), (least, most) = one.span, other.span
    span = low - factor * most, high - factor * least
    return Sample(seeds, values, hits, one.images, one.scale, span=span)


def shifted(sample: Sample, by: float) -> Sample:
    """Return a sample whose values, and their bounds, are higher by a constant."""
    bounds = sample.bounds and (sample.bounds[0] + by, sample.bounds[1] + by)
    return replace(sample, values=tuple(value + by for value in sample.values), bounds=bounds)


def on_seeds(sample: Sample, seeds: Sequence[int]) -> Sample:
    """Return a sample on some of its seeds."""
    at = [sample.seeds.index(seed) for seed in seeds]
    hits = None if sample.hits is None else sample.hits[at]
    values = tuple(sample.values[i] for i in at)
    return replace(sample, seeds=tuple(seeds), values=values, hits=hits)


def effect_size(values: Sequence[float]) -> float | None:
    """Return Cohen's d_z: the mean of differences in standard deviations over seeds.

    There is none for one seed, and none where all seeds differ alike.
    """
    if len(values) < 2 or _agree(values):
        return None
    return float(np.mean(values)) / float(np.std(values, ddof=1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct a family's p values: at level α the chance of any false alarm is at most α.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = largest
    return corrected
