"""Sweeps: rows that differ in one swept option, as lines of a table and points of a figure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backbench.benchmark.sweeps import MARK
from backbench.model import NONE, Axis
from backbench.plugin import Column
from backbench.report.numbers import INTERVAL_NOTE
from backbench.report.sheet import Line, Sheet, remarks_of
from backbench.results.leaderboard import Leaderboard, Row
from backbench.results.statistics import Summary

#: Metric of the control's ASR among the numbers of a point.
CONTROL: Final = "control/asr"

#: Columns of the table.
COLUMNS: Final = (
    Column("asr", "ASR"),
    Column(CONTROL, "ASR control"),
    Column("asr_lift", "ASR lift"),
    Column("accuracy/clean", "Acc"),
)

NOTE: Final = (
    "rows that differ in one swept option, by its rising value; ASR control: the clean encoder "
    f"under the same trigger; ASR lift: value less control; {INTERVAL_NOTE}"
)

_SWEPT: Final = re.compile(
    rf"{MARK}(?P<option>[^{MARK}]+?)-(?P<value>-?[\d.]+(?:e-?\d+)?)(?={MARK}|:|$)"
)


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a swept option, the seeds of its row, and the numbers over them."""

    value: float
    seeds: tuple[int, ...]
    numbers: Mapping[str, Summary]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Rows that differ in one swept option alone.

    Args:
        option: Its path: ``attack.rate.value``.
        others: What names the rows otherwise: those names that are not ``none``.
        points: Its values with the numbers of their rows, by rising value.
    """

    option: str
    others: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def title(self) -> str:
        """The names, for people."""
        return " · ".join(self.others)


def sweeps_in(rows: Sequence[Row]) -> list[Sweep]:
    """Return the sweeps of a table: at least two comparable rows that differ in one swept option.

    A row of several swept options is in a sweep of each of them.
    """
    found: dict[tuple[str, tuple[str, ...]], dict[float, Row]] = {}
    for row in filter(lambda row: row.comparable, rows):
        for axis in Axis:
            name = row.names.get(axis, "")
            for swept in _SWEPT.finditer(name):
                rest = name[: swept.start()] + name[swept.end() :]
                others = {**row.names, axis.value: rest}
                kept = tuple(one for one in others.values() if one != NONE)
                key = f"{axis.value}.{swept['option']}", kept
                found.setdefault(key, {})[float(swept["value"])] = row
    return [
        Sweep(option, others, tuple(_point(value, by_value[value]) for value in sorted(by_value)))
        for (option, others), by_value in found.items()
        if len(by_value) > 1
    ]


def _point(value: float, row: Row) -> Point:
    numbers = {one.metric: row.values[one.metric] for one in COLUMNS if one.metric in row.values}
    if "asr" in row.controls:
        numbers[CONTROL] = row.controls["asr"]
    return Point(value, row.seeds, numbers)


def sweep_sheet(board: Leaderboard) -> Sheet:
    """Return ASR and accuracy of a leaderboard's rows against the options that were swept."""
    lines = [
        Line(
            {"option": sweep.option, "rows": sweep.title, "value": f"{point.value:g}"},
            point.seeds,
            point.numbers,
        )
        for sweep in sweeps_in(board.rows)
        for point in sweep.points
        if point.numbers
    ]
    title = f"{board.benchmark} · sweeps"
    nothing = "no two finished rows differ in one swept option"
    fields = ("option", "rows", "value")
    return Sheet(title, fields, COLUMNS, tuple(lines), NOTE, nothing, remarks_of(board))
