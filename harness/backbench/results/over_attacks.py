"""Rows of several attacks in one: columns of their worst case and of their mean. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from backbench.model import NONE
from backbench.plugin import Column
from backbench.results.leaderboard import Leaderboard, Row
from backbench.results.statistics import Sample, on_seeds, summarize_all

#: Metrics that have a worse end though no column shows them.
_LOW_IS_BEST = ("asr_lift", "fp_lift")

#: The note under a table of such rows.
NOTE = (
    "worst: of the attack that is the worst at each seed; mean: over the attacks, pairs of a "
    "trigger and a target; no attack: of the encoder that no attack was made on"
)

_Take = Callable[[Sequence[float]], float]


def over_attacks(board: Leaderboard) -> Leaderboard:
    """Fold the rows that differ only in their attack into one.

    An attack of a benchmark is one trigger with one target. Of each metric a folded row has
    ``asr/worst``, that of the attack that is the worst for it at a seed, and ``asr/mean``, the mean
    over the attacks that have the metric; under its plain name it has the number of the row without
    an attack. All are taken seed by seed, on the seeds that all rows have, and then summarized.
    What is made of an outdated row is outdated; rows of an imported bundle stay apart from ours.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in board.rows:
        others = (value for name, value in row.names.items() if name != "attack")
        groups.setdefault((row.protocol, row.origin, *others), []).append(row)
    best = {column.metric: column.best for column in board.columns if column.best}
    best |= dict.fromkeys(_LOW_IS_BEST, "low")
    worse: dict[str, _Take] = {
        metric: min if end == "high" else max for metric, end in best.items()
    }
    rows = tuple(_fold(group, worse) for group in groups.values())
    columns = tuple(one for column in board.columns for one in _folded_columns(column))
    return replace(board, rows=rows, columns=columns, folded=NOTE)


def _folded_columns(column: Column) -> Iterator[Column]:
    """Yield what a column becomes; only those are shown in which a row has a number."""
    yield replace(column, title=f"{column.title}, no attack", control=False)
    for kind in ("worst", "mean"):
        metric, title = f"{column.metric}/{kind}", f"{column.title} {kind}"
        yield replace(column, metric=metric, title=title, control=False)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _fold(rows: Sequence[Row], worse: Mapping[str, _Take]) -> Row:
    """Make one row of those of some attacks, and of the one without."""
    attacked = [row for row in rows if row.names["attack"] != NONE]
    seeds = tuple(seed for seed in rows[0].seeds if all(seed in row.seeds for row in rows))
    samples: dict[str, Sample] = {}
    for row in rows:
        if row.names["attack"] == NONE:
            samples |= {metric: _on(one, seeds) for metric, one in row.samples.items()}
    for metric in dict.fromkeys(metric for row in attacked for metric in row.samples):
        found = [_on(row.samples[metric], seeds) for row in attacked if metric in row.samples]
        if metric in worse:
            samples[f"{metric}/worst"] = _folded(found, worse[metric])
        samples[f"{metric}/mean"] = _on_images(_folded(found, _mean), found)
    samples = {metric: one for metric, one in samples.items() if one.seeds}
    count = f"{len(attacked)} attack{'s' * (len(attacked) > 1)}" if attacked else NONE
    return Row(
        names={**rows[0].names, "attack": count},
        seeds=seeds,
        planned=max(row.planned for row in rows),
        values=summarize_all(samples),
        controls={},
        lifts={},
        problem=next((row.problem for row in rows if row.problem), ""),
        protocol=rows[0].protocol,
        external=rows[0].external,
        origin=rows[0].origin,
        outdated=", ".join(dict.fromkeys(row.outdated for row in rows if row.outdated)),
        uncontrolled=min(len(seeds), max(row.uncontrolled for row in rows)),
        undetected=min(len(seeds), max(row.undetected for row in rows)),
        flags=tuple(dict.fromkeys(flag for row in rows for flag in row.flags)),
        samples=samples,
    )


def _on(sample: Sample, seeds: Sequence[int]) -> Sample:
    """Return a sample on those seeds of a row that have the metric."""
    return on_seeds(sample, [seed for seed in seeds if seed in sample.seeds])


def _folded(found: Sequence[Sample], take: _Take) -> Sample:
    seeds = tuple(seed for seed in found[0].seeds if all(seed in one.seeds for one in found))
    values = tuple(take([one.values[one.seeds.index(seed)] for one in found]) for seed in seeds)
    ends = [one.bounds for one in found if one.bounds is not None]
    bounds = None
    if len(ends) == len(found):
        bounds = min(low for low, _ in ends), max(high for _, high in ends)
    return Sample(seeds, values, bounds=bounds)


def _on_images(mean: Sample, found: Sequence[Sample]) -> Sample:
    """Add the mean outcome on each image to a mean, if all are of the same images."""
    first = found[0]
    hits = [on_seeds(one, mean.seeds).hits for one in found]
    if first.images is None:
        return mean
    same = all(
        one.scale == first.scale and np.array_equal(one.images, first.images)
        for one in found
        if one.images is not None
    )
    known = [one for one in hits if one is not None]
    if not same or len(known) < len(hits):
        return mean
    return replace(mean, hits=np.mean(known, axis=0), images=first.images, scale=first.scale)
