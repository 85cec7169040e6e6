"""From records to rows: every number with n, spread and its control."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backbench.errors import UsageError
from backbench.model import Cell, Plan, Stage
from backbench.plugin import Column
from backbench.records import Record
from backbench.registry import suggestion
from backbench.statistics import Summary, summarize

#: The columns that every leaderboard has.
COLUMNS = (
    Column("accuracy/clean", "Acc", best="high"),
    Column("accuracy/triggered", "Acc trig.", best="high", control=True),
    Column("target_fp/clean", "FP", best="low", decimals=0),
    Column("target_fp/triggered", "FP trig.", best="low", decimals=0, control=True),
    Column("asr", "ASR", best="low", control=True),
)

#: What names a row.
FIELDS = ("dataset", "method", "attack", "defense", "evaluator")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the leaderboard: a cell of the matrix, over its seeds.

    Args:
        names: Instance names, by field.
        seeds: Seeds that have a number.
        planned: Number of seeds in the benchmark.
        values: Metrics over seeds.
        controls: The same metrics of the clean encoder under the same trigger.
        lifts: Value less control, paired by seed.
        problem: Why a seed, or its control, is missing, if a stage failed.
    """

    names: Mapping[str, str]
    seeds: tuple[int, ...]
    planned: int
    values: Mapping[str, Summary]
    controls: Mapping[str, Summary]
    lifts: Mapping[str, Summary]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Rows and the columns to show."""

    benchmark: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def build(
    plan: Plan,
    record_of: Callable[[str], Record | None],
    failure_of: Callable[[str], Mapping[str, Any] | None],
    extra: Iterable[Column] = (),
) -> Leaderboard:
    """Build the leaderboard of a plan from what is in the store.

    Args:
        plan: The plan.
        record_of: Gives the record of a stage, or ``None``.
        failure_of: Gives why a stage failed, or ``None``.
        extra: Columns of plugins.
    """
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in plan.cells:
        names = tuple(str(getattr(cell.name, field)) for field in FIELDS)
        groups.setdefault(names, []).append(cell)
    rows = tuple(
        _row(dict(zip(FIELDS, names, strict=True)), cells, plan.stages, record_of, failure_of)
        for names, cells in groups.items()
    )
    return Leaderboard(plan.benchmark, (*COLUMNS, *extra), rows)


def _row(
    names: Mapping[str, str],
    cells: Sequence[Cell],
    stages: Mapping[str, Stage],
    record_of: Callable[[str], Record | None],
    failure_of: Callable[[str], Mapping[str, Any] | None],
) -> Row:
    values: dict[str, list[float]] = {}
    controls: dict[str, list[float]] = {}
    lifts: dict[str, list[float]] = {}
    seeds = []
    problem = ""
    for cell in sorted(cells, key=lambda cell: cell.name.seed):
        record = record_of(cell.evaluation)
        if record is None:
            problem = problem or _problem(stages, cell.evaluation, failure_of)
            continue
        seeds.append(cell.name.seed)
        control = record_of(cell.control) if cell.control else None
        if cell.control and control is None:
            problem = problem or _problem(stages, cell.control, failure_of)
        for metric, value in record.metrics.items():
            values.setdefault(metric, []).append(value)
            if control is not None and metric in control.metrics:
                controls.setdefault(metric, []).append(control.metrics[metric])
                lifts.setdefault(metric, []).append(value - control.metrics[metric])
    return Row(
        names=names,
        seeds=tuple(seeds),
        planned=len(cells),
        values={metric: summarize(found) for metric, found in values.items()},
        controls={metric: summarize(found) for metric, found in controls.items()},
        lifts={metric: summarize(found) for metric, found in lifts.items()},
        problem=problem,
    )


def _problem(
    stages: Mapping[str, Stage], key: str, failure_of: Callable[[str], Mapping[str, Any] | None]
) -> str:
    """Say which of the stages that lead to one failed, and why; empty if none did."""
    failure = failure_of(key)
    if failure is not None:
        return f"{failure['label']}: {failure['reason']}"
    read = stages[key].inputs.values() if key in stages else ()
    return next(filter(None, (_problem(stages, one, failure_of) for one in read)), "")


# -- choosing and ordering rows ----------------------------------------------------------------

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
        filters: ``method=byol``, ``attack!=none``, ``asr>0.1``; all must hold.
        sort: A field or a metric; with a leading ``-``, descending. Rows without the metric
            come last.

    Raises:
        UsageError: If a filter cannot be read, or names nothing.
    """
    rows = list(board.rows)
    for text in filters:
        keep = _predicate(board, text)
        rows = [row for row in rows if keep(row)]
    if sort is not None:
        name, descending = sort.removeprefix("-"), sort.startswith("-")
        _known(board, name, "--sort")
        if name in FIELDS:
            rows.sort(key=lambda row: row.names[name], reverse=descending)
        else:
            sign = -1 if descending else 1
            rows.sort(
                key=lambda row: (
                    (0, sign * row.values[name].mean) if name in row.values else (1, 0.0)
                )
            )
    return Leaderboard(board.benchmark, board.columns, tuple(rows))


def _predicate(board: Leaderboard, text: str) -> Callable[[Row], bool]:
    match = _FILTER.fullmatch(text)
    if match is None:
        raise UsageError(f"--filter {text!r}: write NAME=VALUE, NAME!=VALUE, NAME>NUMBER, …")
    name, symbol, wanted = match.groups()
    _known(board, name, "--filter")
    compare = _COMPARE[symbol]
    if name in FIELDS:
        if symbol not in {"=", "!="}:
            raise UsageError(f"--filter {text!r}: a name is compared with = or !=")
        names = sorted({row.names[name] for row in board.rows})
        if wanted not in names:
            raise UsageError(f"--filter: no {name} is called {wanted!r}{suggestion(wanted, names)}")
        return lambda row: compare(row.names[name], wanted)
    try:
        number = float(wanted)
    except ValueError:
        raise UsageError(f"--filter {text!r}: {wanted!r} is not a number") from None
    return lambda row: name in row.values and compare(row.values[name].mean, number)


def _known(board: Leaderboard, name: str, where: str) -> None:
    known = [*FIELDS, *(column.metric for column in board.columns)]
    known += sorted({metric for row in board.rows for metric in row.values} - set(known))
    if name not in known:
        raise UsageError(f"{where}: nothing is called {name!r}{suggestion(name, known)}")


def group(board: Leaderboard, by: str | None) -> list[tuple[str, Leaderboard]]:
    """Split a leaderboard by a field; titles name what each part has in common."""
    if by is None:
        return [("", board)]
    parts: dict[str, list[Row]] = {}
    for row in board.rows:
        parts.setdefault(row.names[by], []).append(row)
    return [
        (f"{by} {name}", Leaderboard(board.benchmark, board.columns, tuple(rows)))
        for name, rows in parts.items()
    ]


def extremes(board: Leaderboard) -> dict[tuple[str, str], frozenset[int]]:
    """Find the best and the worst rows of each column that has a better end.

    Returns:
        Row positions by (metric, ``best`` | ``worst``), of rows that have all their seeds; columns
        in which all rows are equal have none.
    """
    found: dict[tuple[str, str], frozenset[int]] = {}
    for column in board.columns:
        means = {
            index: round(row.values[column.metric].mean, column.decimals)
            for index, row in enumerate(board.rows)
            if column.metric in row.values and len(row.seeds) == row.planned
        }
        if column.best is None or len(set(means.values())) < 2:
            continue
        high, low = max(means.values()), min(means.values())
        best, worst = (high, low) if column.best == "high" else (low, high)
        for name, value in (("best", best), ("worst", worst)):
            at = frozenset(index for index, mean in means.items() if mean == value)
            found[column.metric, name] = at
    return found
