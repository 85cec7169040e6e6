"""Ranks of the rows of a leaderboard, and the best and the worst of each column."""

from __future__ import annotations

import math
from bisect import bisect_right

from backbench.model import NONE, Axis
from backbench.results.leaderboard import Leaderboard

#: What rows that are ranked among each other have in common.
_SAME = (Axis.DATASET, Axis.DOWNSTREAM, Axis.EVALUATOR)


def ranks(board: Leaderboard) -> dict[str, dict[int, int]]:
    """Rank the rows of each column that has a better end; return ranks by row position, by metric.

    A row is ahead of another one if their 95 % intervals do not overlap; its rank is 1 and the
    number of rows that are ahead of it, so that rows which cannot be distinguished from the best
    share rank 1. Ranked are complete rows with an interval, among those of the same protocol,
    dataset, downstream dataset and evaluator: other numbers are of other images, and a count is of
    as many as there are. Neither outdated nor imported rows are.
    """
    return _ranks(board, 1)


def _ranks(board: Leaderboard, sign: int) -> dict[str, dict[int, int]]:
    """Rank rows from the better end (1), or from the worse end (-1)."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(board.rows):
        if row.ranked:
            key = (row.protocol, *(row.names.get(axis, NONE) for axis in _SAME))
            alike.setdefault(key, []).append(index)
    found: dict[str, dict[int, int]] = {}
    for column in board.columns:
        if column.best is None:
            continue
        upwards = sign if column.best == "high" else -sign
        for rows in alike.values():
            ends = {
                index: sorted(upwards * end for end in value.ci95)
                for index in rows
                if (value := board.rows[index].values.get(column.metric)) is not None
                and value.ci95 is not None
            }
            lows = sorted(low for low, _ in ends.values() if not math.isnan(low))
            for index, (_, high) in ends.items():
                ahead = 0 if math.isnan(high) else len(lows) - bisect_right(lows, high)
                found.setdefault(column.metric, {})[index] = 1 + ahead
    return found


def extremes(board: Leaderboard) -> dict[tuple[str, str], frozenset[int]]:
    """Find the best and the worst rows of each column that has a better end.

    Returns:
        Row positions by (metric, ``best`` | ``worst``): the rows of rank 1 from either end, ties
        together. A row that is tied with both ends is neither.
    """
    best, worst = ranks(board), _ranks(board, -1)
    found: dict[tuple[str, str], frozenset[int]] = {}
    for metric in best:
        first, last = (
            frozenset(at for at, rank in end[metric].items() if rank == 1) for end in (best, worst)
        )
        ends = {"best": first - last, "worst": last - first}
        found |= {(metric, end): at for end, at in ends.items() if at}
    return found
