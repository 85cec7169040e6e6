"""From records to rows: every number with n, spread and its control."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from backbench.errors import UsageError
from backbench.metrics import of_head
from backbench.model import Cell, Plan, Stage, StageKind
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
class Reported:
    """A figure that others have published of what a row measures.

    Args:
        value: The figure; a fraction in [0, 1], or a count.
        source: Where it stands.
        setting: How it was made, and what is known to differ from ours.
    """

    value: float
    source: str
    setting: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the leaderboard: a cell of the matrix, or one head of it, over its seeds.

    Args:
        names: Instance names, by field; the evaluator of a row that is a head's is ``knn:k=1``.
        seeds: Seeds that have a number.
        planned: Number of seeds in the benchmark.
        values: Metrics over seeds.
        controls: The same metrics of the clean encoder under the same trigger.
        lifts: Value less control, paired by seed.
        problem: Why a seed, or its control, is missing, if a stage failed.
        protocol: Id of the protocol card that the row follows; empty without one. Rows are
            ranked among those of the same card only.
        foreign: The weights were not trained here: what they have seen is not known.
        reported: Figures published elsewhere, by metric: shown beside ours, never ranked and in no
            mean.
        origin: The imported bundle that the row is of; empty for our own.
        stale: What has changed since the numbers were made, if an older revision of a plugin made
            them; such a row is not ranked.
    """

    names: Mapping[str, str]
    seeds: tuple[int, ...]
    planned: int
    values: Mapping[str, Summary]
    controls: Mapping[str, Summary]
    lifts: Mapping[str, Summary]
    problem: str = ""
    protocol: str = ""
    foreign: bool = False
    reported: Mapping[str, Reported] = field(default_factory=dict)
    origin: str = ""
    stale: str = ""


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Rows and the columns to show.

    Args:
        benchmark: Name of the benchmark.
        columns: The columns.
        rows: The rows.
        protocol: Id of the protocol card of the benchmark; empty without one. Where rows of
            several benchmarks are put together, each row's own counts.
        rescored: What was counted differently from the records; empty if nothing was.
    """

    benchmark: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    protocol: str = ""
    rescored: str = ""


def build(
    plan: Plan,
    record_of: Callable[[str], Record | None],
    failure_of: Callable[[str], Mapping[str, Any] | None],
    extra: Iterable[Column] = (),
    older_of: Callable[[str], Record | None] | None = None,
) -> Leaderboard:
    """Build the leaderboard of a plan from what is in the store.

    Args:
        plan: The plan.
        record_of: Gives the record of a stage, or ``None``.
        failure_of: Gives why a stage failed, or ``None``.
        extra: Columns of plugins.
        older_of: Gives the stale record of a stage, or ``None``. A row has its numbers only if no
            seed has others: those of two revisions have no mean.
    """
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in plan.cells:
        names = tuple(str(getattr(cell.name, field)) for field in FIELDS)
        groups.setdefault(names, []).append(cell)
    rows = tuple(
        _row(dict(zip(FIELDS, names, strict=True)), cells, plan, one_of, failure_of, head=head)
        for names, cells in groups.items()
        for one_of in [_records(cells, record_of, older_of)]
        for head in _heads(cells, one_of)
    )
    return Leaderboard(plan.benchmark, (*COLUMNS, *extra), rows, plan.protocol)


def _records(
    cells: Sequence[Cell],
    record_of: Callable[[str], Record | None],
    older_of: Callable[[str], Record | None] | None,
) -> Callable[[str], Record | None]:
    """Return what gives a row's records: the current ones, if there is one, else the stale ones."""
    if older_of is None or any(record_of(cell.evaluation) for cell in cells):
        return record_of
    return older_of


def _heads(cells: Sequence[Cell], record_of: Callable[[str], Record | None]) -> tuple[str, ...]:
    """Return the heads of the cells' evaluator; one without a name where it has a single one."""
    records = filter(None, (record_of(cell.evaluation) for cell in cells))
    heads = next((record.facts.get("heads") for record in records), None)
    return tuple(heads) if heads else ("",)


def _row(
    names: Mapping[str, str],
    cells: Sequence[Cell],
    plan: Plan,
    record_of: Callable[[str], Record | None],
    failure_of: Callable[[str], Mapping[str, Any] | None],
    *,
    head: str,
) -> Row:
    values: dict[str, list[float]] = {}
    controls: dict[str, list[float]] = {}
    lifts: dict[str, list[float]] = {}
    seeds = []
    problem = stale = ""
    for cell in sorted(cells, key=lambda cell: cell.name.seed):
        record = record_of(cell.evaluation)
        if record is None:
            problem = problem or _problem(plan.stages, cell.evaluation, failure_of)
            continue
        seeds.append(cell.name.seed)
        stale = stale or record.facts.get("stale", "")
        control = record_of(cell.control) if cell.control else None
        if cell.control and control is None:
            problem = problem or _problem(plan.stages, cell.control, failure_of)
        beside = of_head(control.metrics, head) if control is not None else {}
        for metric, value in of_head(record.metrics, head).items():
            values.setdefault(metric, []).append(value)
            if metric in beside:
                controls.setdefault(metric, []).append(beside[metric])
                lifts.setdefault(metric, []).append(value - beside[metric])
    return Row(
        names={**names, "evaluator": f"{names['evaluator']}:{head}"} if head else names,
        seeds=tuple(seeds),
        planned=len(cells),
        values={metric: summarize(found) for metric, found in values.items()},
        controls={metric: summarize(found) for metric, found in controls.items()},
        lifts={metric: summarize(found) for metric, found in lifts.items()},
        problem=problem,
        protocol=plan.protocol,
        foreign=any(_imports(plan.stages, key) for cell in cells for key in cell.path),
        stale=stale,
    )


def _imports(stages: Mapping[str, Stage], key: str) -> bool:
    return key in stages and stages[key].kind is StageKind.IMPORT


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
        filters: ``method=byol``, ``attack!=none``, ``asr>0.1``; all must hold. An evaluator
            without a head, ``evaluator=knn``, means all its heads.
        sort: A field or a metric; with a leading ``-``, descending. Rows without the metric
            come last. Rows of different protocols stay apart.

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
    if name in FIELDS:
        if symbol not in {"=", "!="}:
            raise UsageError(f"--filter {text!r}: a name is compared with = or !=")
        names = sorted({one for row in board.rows for one in _called(row, name)})
        if wanted not in names:
            raise UsageError(f"--filter: no {name} is called {wanted!r}{suggestion(wanted, names)}")
        return lambda row: (wanted in _called(row, name)) == (symbol == "=")
    try:
        number = float(wanted)
    except ValueError:
        raise UsageError(f"--filter {text!r}: {wanted!r} is not a number") from None
    return lambda row: name in row.values and compare(row.values[name].mean, number)


def _called(row: Row, field: str) -> set[str]:
    """Return the names by which a row is found: that of a head, and that of all heads."""
    name = row.names[field]
    return {name, name.partition(":")[0]} if field == "evaluator" else {name}


def _known(board: Leaderboard, name: str, where: str) -> None:
    known = [*FIELDS, *(column.metric for column in board.columns)]
    known += sorted({metric for row in board.rows for metric in row.values} - set(known))
    if name not in known:
        raise UsageError(f"{where}: nothing is called {name!r}{suggestion(name, known)}")


def group(board: Leaderboard, by: str | None) -> list[tuple[str, Leaderboard]]:
    """Split a leaderboard by protocol, and then by a field.

    Args:
        board: The leaderboard.
        by: The field; ``None`` splits by protocol only.

    Returns:
        The parts, each of one protocol, with a title that names its value of the field.
    """
    parts: dict[str, dict[str, list[Row]]] = {}
    for row in board.rows:
        value = row.names[by] if by else ""
        parts.setdefault(row.protocol, {}).setdefault(value, []).append(row)
    return [
        (f"{by} {value}" if by else "", replace(board, rows=tuple(rows), protocol=protocol))
        for protocol, values in parts.items()
        for value, rows in values.items()
    ]


def extremes(board: Leaderboard) -> dict[tuple[str, str], frozenset[int]]:
    """Find the best and the worst rows of each column that has a better end.

    Rows are ranked among those of the same protocol and the same evaluator.

    Returns:
        Row positions by (metric, ``best`` | ``worst``), of rows that have all their seeds and are
        not stale; where all rows are equal there are none.
    """
    found: dict[tuple[str, str], frozenset[int]] = {}
    ranked: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(board.rows):
        if len(row.seeds) == row.planned and not row.stale:
            ranked.setdefault((row.protocol, row.names["evaluator"]), []).append(index)
    for column in board.columns:
        if column.best is None:
            continue
        for rows in ranked.values():
            for end, at in _ends(board, column, rows).items():
                found[column.metric, end] = found.get((column.metric, end), frozenset()) | at
    return found


def _ends(board: Leaderboard, column: Column, rows: Iterable[int]) -> dict[str, frozenset[int]]:
    """Return those of some rows that have the best and the worst value of a column."""
    means = {
        index: round(board.rows[index].values[column.metric].mean, column.decimals)
        for index in rows
        if column.metric in board.rows[index].values
    }
    if len(set(means.values())) < 2:
        return {}
    high, low = max(means.values()), min(means.values())
    best, worst = (high, low) if column.best == "high" else (low, high)
    return {
        end: frozenset(index for index, mean in means.items() if mean == value)
        for end, value in (("best", best), ("worst", worst))
    }
