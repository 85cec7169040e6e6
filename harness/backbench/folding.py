"""Rows of several attacks, folded into their worst case and their mean. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from backbench.leaderboard import Leaderboard, Row
from backbench.model import NONE
from backbench.statistics import Sample, summarize

#: Metrics that have a worse end though no column shows them.
_LOW_IS_BEST = ("asr_lift", "fp_lift")


def over_attacks(board: Leaderboard) -> Leaderboard:
    """Fold the rows that differ only in their attack.

    An attack of a benchmark is one trigger with one target. Their rows give way to two: in
    ``worst of 3`` each metric is that of the attack that is the worst for it at a seed, in
    ``mean of 3`` the mean over the attacks that have the metric. Both are taken seed by seed, on
    the seeds that all have, and then summarized over seeds. Rows without an attack stay. What is
    made of a stale row is stale; those of an imported bundle stay apart from ours.

    Args:
        board: The leaderboard.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    rows: list[Row | tuple[str, ...]] = []
    for row in board.rows:
        if row.names["attack"] == NONE:
            rows.append(row)
            continue
        others = (value for name, value in row.names.items() if name != "attack")
        key = (row.protocol, row.origin, *others)
        if key not in groups:
            rows.append(key)
        groups.setdefault(key, []).append(row)
    best = {column.metric: column.best for column in board.columns if column.best}
    best |= dict.fromkeys(_LOW_IS_BEST, "low")
    worse: dict[str, Callable[[Sequence[float]], float]] = {
        metric: min if end == "high" else max for metric, end in best.items()
    }
    means = {metric: _mean for of in groups.values() for row in of for metric in row.samples}
    folded: list[Row] = []
    for one in rows:
        if isinstance(one, Row):
            folded.append(one)
        else:
            folded += [_fold(groups[one], "worst", worse), _fold(groups[one], "mean", means)]
    return replace(board, rows=tuple(folded))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _fold(
    rows: Sequence[Row], kind: str, fold: Mapping[str, Callable[[Sequence[float]], float]]
) -> Row:
    """Make one row of those of some attacks."""
    seeds = tuple(seed for seed in rows[0].seeds if all(seed in row.seeds for row in rows))
    samples = {}
    for metric, take in fold.items():
        found = [row.samples[metric] for row in rows if metric in row.samples]
        if found and (folded := _folded(found, take)).seeds:
            samples[metric] = folded
    values = {metric: summarize(sample) for metric, sample in samples.items()}
    return Row(
        names={**rows[0].names, "attack": f"{kind} of {len(rows)}"},
        seeds=seeds,
        planned=max(row.planned for row in rows),
        values=values,
        controls={},
        lifts={},
        problem=next((row.problem for row in rows if row.problem), ""),
        protocol=rows[0].protocol,
        foreign=rows[0].foreign,
        origin=rows[0].origin,
        stale=", ".join(dict.fromkeys(row.stale for row in rows if row.stale)),
        uncontrolled=min(len(seeds), max(row.uncontrolled for row in rows)),
        flags=tuple(dict.fromkeys(flag for row in rows for flag in row.flags)),
        samples=samples,
    )


def _folded(found: Sequence[Sample], take: Callable[[Sequence[float]], float]) -> Sample:
    seeds = tuple(seed for seed in found[0].seeds if all(seed in one.seeds for one in found))
    values = tuple(take([one.values[one.seeds.index(seed)] for one in found]) for seed in seeds)
    return Sample(seeds, values)
