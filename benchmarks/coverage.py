"""How many 95 % intervals hold the truth: simulated benchmarks of seeds x images, rate known.

``python benchmarks/coverage.py`` prints the tables of docs/reference/statistics.md and of
docs/adr/0007 in a minute of one core; ``--repeats`` changes how many benchmarks a figure is of.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from backbench.results.statistics import (
    Sample,
    error_over_both,
    error_over_seeds,
    interval,
    summarize,
)

#: Standard deviation between seeds and between images, on a normal scale; that of the rest is 1.
SPREADS = ((0.0, 1.0), (0.1, 1.0), (0.3, 1.0), (0.3, 0.3))
RATES = (0.002, 0.01, 0.05, 0.5, 0.95, 0.99)
SEEDS = (3, 5, 10)

Array = NDArray[np.float64]
Ends = tuple[Array, Array]


def simulate(
    shape: tuple[int, int, int], rate: float, spread: tuple[float, float], rng: np.random.Generator
) -> NDArray[np.int8]:
    """Draw outcomes of benchmarks x seeds x images; the rate over all seeds and images is true.

    An image is hit where the sum of a normal number of its seed, one of its own and one of both
    exceeds a bound.
    """
    repeats, seeds, images = shape
    of_seeds, of_images = spread
    bound = stats.norm.ppf(rate) * np.sqrt(1 + of_seeds**2 + of_images**2)
    latent = rng.standard_normal(shape, dtype=np.float32)
    latent += rng.normal(0, of_seeds, (repeats, seeds, 1)).astype(np.float32)
    latent += rng.normal(0, of_images, (repeats, 1, images)).astype(np.float32)
    return (latent + np.float32(bound) > 0).astype(np.int8)


def ours(hits: NDArray[np.int8], bounds: tuple[float, float] | None) -> Ends:
    """Return the intervals of ``summarize``, with bounds and without."""
    ends = []
    for one in hits:
        means = tuple(one.mean(axis=1).tolist())
        sample = Sample(tuple(range(len(one))), means, one, np.arange(one.shape[1]), bounds=bounds)
        ends.append(summarize(sample).ci95)
    low, high = np.array(ends).T
    return low, high


def over_seeds(hits: NDArray[np.int8]) -> Ends:
    """Return Student's t over the seeds' rates."""
    means = hits.mean(axis=2)
    return interval(means.mean(axis=1), error_over_seeds(means).half_width(), None)


def scipys(hits: NDArray[np.int8], method: str, rng: np.random.Generator) -> Ends:
    """Return scipy's bootstrap over the seeds' rates."""
    with np.errstate(all="ignore"):
        found = stats.bootstrap(
            (hits.mean(axis=2),),
            np.mean,
            axis=-1,
            method=method,
            n_resamples=999,
            batch=200,
            rng=rng,
        ).confidence_interval
    return found.low, found.high


def over_both(hits: NDArray[np.int8], rng: np.random.Generator, draws: int = 400) -> Iterator[Ends]:
    """Yield the percentile and the studentized bootstrap that draws seeds and images anew."""
    percentile, studentized = [], []
    seeds, images = hits.shape[1:]
    for table in hits.astype(np.float64):
        of_seeds = rng.multinomial(seeds, [1 / seeds] * seeds, draws).astype(float)
        of_images = rng.multinomial(images, [1 / images] * images, draws).astype(float)
        rows, columns = of_images @ table.T / images, of_seeds @ table / seeds
        means = (of_seeds * rows).sum(axis=1) / seeds
        between = images * (of_seeds * (rows - means[:, None]) ** 2).sum(axis=1)
        across = seeds * (of_images * (columns - means[:, None]) ** 2).sum(axis=1)
        total = ((of_images @ (table**2).T) * of_seeds).sum(axis=1)
        rest = total - seeds * images * means**2 - between - across
        rest = np.maximum(rest, 0) / ((seeds - 1) * (images - 1))
        variance = between / (seeds - 1) + np.maximum(across / (images - 1) - rest, 0)
        variance = np.maximum(variance, rest) / (seeds * images)
        own = error_over_both(table)
        error = np.sqrt(max(float(own.seeds + own.images), float(own.least)))
        with np.errstate(all="ignore"):
            scores = (means - table.mean()) / np.sqrt(variance)
        scores = scores[np.isfinite(scores)] if error else np.zeros(1)
        low, high = np.quantile(scores, [0.025, 0.975])
        percentile.append(np.quantile(means, [0.025, 0.975]))
        studentized.append((table.mean() - high * error, table.mean() - low * error))
    for found in (percentile, studentized):
        low, high = np.array(found).T
        yield low, high


def covered(ends: Ends, rate: float) -> float:
    """Return the share of intervals that hold the truth."""
    return float(np.mean((ends[0] <= rate) & (rate <= ends[1])))


def rates_table(repeats: int, images: int) -> None:
    """Print coverage by rate: mean and least over the spreads, bounded and symmetric."""
    print("| rate | " + " | ".join(f"n = {n} | ± only" for n in SEEDS) + " |")
    print("|---|" + "---|" * 2 * len(SEEDS))
    for rate in RATES:
        cells = []
        for seeds in SEEDS:
            found: dict[bool, list[float]] = {True: [], False: []}
            for number, spread in enumerate(SPREADS):
                rng = np.random.default_rng([seeds, number, int(rate * 1000)])
                hits = simulate((repeats, seeds, images), rate, spread, rng)
                for bounded, shares in found.items():
                    ends = ours(hits, (0.0, 1.0) if bounded else None)
                    shares.append(covered(ends, rate))
            cells += [f"{np.mean(one):.3f} ({min(one):.3f})" for one in found.values()]
        print(f"| {rate} | " + " | ".join(cells) + " |", flush=True)


def alternatives_table(repeats: int, images: int) -> None:
    """Print coverage of other ways of making intervals."""
    names = ("t over seeds", "percentile, seeds", "BCa, seeds", "percentile, both", "t, both")
    print("| n | rate | between seeds | this | " + " | ".join(names) + " |")
    print("|---|---|---|---|" + "---|" * len(names))
    for seeds in SEEDS:
        for rate in (0.01, 0.05, 0.5):
            for spread in ((0.0, 1.0), (0.3, 0.3)):
                rng = np.random.default_rng([seeds, int(spread[0] * 10), int(rate * 1000)])
                hits = simulate((repeats, seeds, images), rate, spread, rng)
                found = [ours(hits, (0.0, 1.0)), over_seeds(hits)]
                found += [scipys(hits, method, rng) for method in ("percentile", "BCa")]
                found += over_both(hits, rng)
                cells = " | ".join(f"{covered(ends, rate):.3f}" for ends in found)
                print(f"| {seeds} | {rate} | {spread[0]} | {cells} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000, help="benchmarks a figure is of")
    repeats = parser.parse_args().repeats
    print(f"{repeats} benchmarks of 900 images a figure and spread: mean (least) over {SPREADS}")
    rates_table(repeats, 900)
    print(f"\n{repeats * 2 // 5} benchmarks of 300 images a figure; bootstraps of 400 or 999 draws")
    alternatives_table(repeats * 2 // 5, 300)
