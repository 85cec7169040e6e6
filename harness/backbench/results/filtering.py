"""Choice and order of the rows of a leaderboard."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from backbench.errors import UsageError
from backbench.model import Axis
from backbench.plugin.suggestions import suggestion
from backbench.results.leaderboard import Leaderboard, Row

_FILTER = re.compile(r"\s*([\w/-]+)\s*(!=|>=|<=|=|>|<)\s*(\S+)\s*")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


def select(board: Leaderboard, filters: Sequence[str], sort: str | None) -> Leaderboard:
    """Choose and order rows.

    Args:
        board: The leaderboard.
        filters: ``method=byol``, ``attack!=none``, ``asr>0.1``; all must hold. An evaluator
            without a variant, ``evaluator=knn``, means all its variants.
        sort: A field or a metric; with a leading ``-``, descending. Rows without the metric
            come last. Rows of different protocols stay apart.
    """
    rows = list(board.rows)
    for text in filters:
        keep = _predicate(board, text)
        rows = [row for row in rows if keep(row)]
    if sort is not None:
        name, descending = sort.removeprefix("-"), sort.startswith("-")
        _known(board, name, "--sort")
        if name in list(Axis):
            rows.sort(key=lambda row: row.names[name], reverse=descending)
        else:
            sign = -1 if descending else 1
            rows.sort(
                key=lambda row: (
                    (0, sign * row.values[name].mean) if name in row.values else (1, 0.0)
                )
            )
        blocks = list(dict.fromkeys(row.protocol for row in board.rows))
        rows.sort(key=lambda row: blocks.index(row.protocol))
    return replace(board, rows=tuple(rows))


def _predicate(board: Leaderboard, text: str) -> Callable[[Row], bool]:
    match = _FILTER.fullmatch(text)
    if match is None:
        raise UsageError(f"--filter {text!r}: write NAME=VALUE, NAME!=VALUE, NAME>NUMBER, …")
    name, symbol, wanted = match.groups()
    _known(board, name, "--filter")
    compare = _COMPARE[symbol]
    if name in list(Axis):
        if symbol not in {"=", "!="}:
            raise UsageError(f"--filter {text!r}: a name is compared with = or !=")
        names = sorted({one for row in board.rows for one in _called(row, name)})
        if wanted not in names:
            raise UsageError(f"--filter: no {name} is called {wanted!r}{suggestion(wanted, names)}")
        return lambda row: (wanted in _called(row, name)) == (symbol == "=")
    try:
        number = float(wanted)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise UsageError(f"--filter {text!r}: {wanted!r} is not a number")
    return lambda row: name in row.values and compare(row.values[name].mean, number)


def _called(row: Row, field: str) -> set[str]:
    """Return the names by which a row is found: that of a variant, and that of all variants."""
    name = row.names[field]
    return {name, name.partition(":")[0]} if field == "evaluator" else {name}


def _known(board: Leaderboard, name: str, where: str) -> None:
    known = [*map(str, Axis), *(column.metric for column in board.columns)]
    known += sorted({metric for row in board.rows for metric in row.values} - set(known))
    if name not in known:
        raise UsageError(f"{where}: nothing is called {name!r}{suggestion(name, known)}")


def differing(names: Iterable[Mapping[str, str]]) -> list[Axis]:
    """Return the axes in which rows differ, by the names of each: those that tell them apart."""
    found = list(names)
    return [axis for axis in Axis if len({one[axis] for one in found}) > 1]


def only_row(board: Leaderboard, asked: str) -> Row:
    """Return the one row that is left; an error names the fields in which several differ."""
    if len(board.rows) == 1:
        return board.rows[0]
    if not board.rows:
        raise UsageError(f"{asked}: no row is left")
    apart = [
        f"{axis}={'|'.join(dict.fromkeys(row.names[axis] for row in board.rows))}"
        for axis in differing(row.names for row in board.rows)
    ]
    more = f": add {', '.join(apart)}" if apart else ""
    raise UsageError(f"{asked}: {len(board.rows)} rows are left{more}")


def group(board: Leaderboard, by: str | None) -> list[tuple[str, Leaderboard]]:
    """Split a leaderboard by protocol, and then by a field; each part has a title."""
    parts: dict[str, dict[str, list[Row]]] = {}
    for row in board.rows:
        value = row.names[by] if by else ""
        parts.setdefault(row.protocol, {}).setdefault(value, []).append(row)
    return [
        (f"{by} {value}" if by else "", replace(board, rows=tuple(rows), protocol=protocol))
        for protocol, values in parts.items()
        for value, rows in values.items()
    ]
