"""A table besides the leaderboard: its lines, and its text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from rich.console import Console
from rich.text import Text

from backbench.errors import UsageError, counted, printable
from backbench.plugin import Column
from backbench.report.console import make_console
from backbench.report.grid import Grid, Number, latex_symbols, print_grid, tabulated
from backbench.report.numbers import EXACT, exact, interval, spread, whole
from backbench.results.leaderboard import Leaderboard
from backbench.results.statistics import Summary
from backbench.system.escaping import csv_text, html_text, latex_text, markdown_text
from backbench.system.json_text import to_json


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table: names by field, the seeds that have numbers, numbers by name."""

    names: Mapping[str, str]
    seeds: tuple[int, ...]
    values: Mapping[str, Summary]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table; columns in which no line has a number are not shown.

    ``nothing`` is the reason why there are no lines, if there are none; ``remarks`` are those of
    :func:`remarks_of`.
    """

    title: str
    fields: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    note: str
    nothing: str
    remarks: tuple[str, ...] = ()

    @property
    def shown(self) -> list[Column]:
        """The columns in which some line has a number."""
        metrics = {metric for line in self.lines for metric in line.values}
        return [column for column in self.columns if column.metric in metrics]

    @property
    def names(self) -> list[str]:
        """The headings of what names a line, and of its number of seeds."""
        return [*(field.capitalize() for field in self.fields), "n"]

    def names_of(self, line: Line) -> list[str]:
        """Return the names of a line, and its number of seeds."""
        return [*(line.names[field] for field in self.fields), str(len(line.seeds))]


def remarks_of(board: Leaderboard) -> tuple[str, ...]:
    """Return what was counted otherwise, and the rows that are left out of what is compared."""
    left_out = Counter(
        f"imported: {row.origin}" if row.origin else f"outdated: {row.outdated}"
        for row in board.rows
        if row.seeds and not row.comparable
    )
    remarks = (f"left out: {counted(n, 'row')}, {why}" for why, n in left_out.items())
    return tuple(filter(None, (board.rescored, *remarks)))


def print_sheet(sheet: Sheet, style: str, console: Console | None = None) -> None:
    """Print a table as ``table``, ``json``, ``csv``, ``markdown``, ``latex`` or ``html``."""
    if not sheet.lines:
        raise UsageError("; ".join((f"{sheet.title}: {sheet.nothing}", *sheet.remarks)))
    console = console or make_console()
    if style == "parquet":
        raise UsageError(
            "--format parquet is of the leaderboard: choose csv or json for this table"
        )
    if style == "table":
        print_grid(_grid(sheet), console)
        for note in (*sheet.remarks, sheet.note):
            console.print(Text(printable(note), "dim"), soft_wrap=not console.is_terminal)
        return
    form = {"json": _as_json, "csv": _comma_separated}.get(style, partial(_tabulated, style=style))
    console.file.write(form(sheet) + "\n")


def _grid(sheet: Sheet) -> Grid:
    """Lay a table out for a terminal: what all lines have in common is in its title."""
    common = _common(sheet)
    fields = tuple(field for field in sheet.fields if field not in common)
    narrowed, columns, lines = replace(sheet, fields=fields), sheet.shown, []
    for line in sheet.lines:
        numbers = []
        for column in columns:
            value = line.values.get(column.metric)
            text, below = (form(value, column.decimals) for form in (spread, interval))
            numbers.append(Number(text, below=below))
        lines.append((narrowed.names_of(line), numbers))
    title = " · ".join((sheet.title, *common.values()))
    return Grid(title, narrowed.names, [[column.title] for column in columns], lines)


def _common(sheet: Sheet) -> dict[str, str]:
    """Return the names that all lines of a table with several have in common, by field."""
    first, *others = sheet.lines
    return {
        field: first.names[field]
        for field in sheet.fields
        if others and all(line.names[field] == first.names[field] for line in others)
    }


def _tabulated(sheet: Sheet, style: str) -> str:
    between, columns = "\n" if style == "html" else " ", sheet.shown
    header = [*sheet.names, *(column.title for column in columns)]
    body = [
        [
            *sheet.names_of(line),
            *(whole(line.values.get(one.metric), one.decimals, between) for one in columns),
        ]
        for line in sheet.lines
    ]
    text = tabulated(header, body, style, len(header) - len(sheet.fields))
    if style == "html":
        notes = (f"<p>{html_text(one)}</p>" for one in (*sheet.remarks, sheet.note))
        return "\n".join([text, *notes])
    if style == "latex":
        return latex_symbols("\n\\par ".join([text, *map(latex_text, sheet.remarks)]))
    return "\n\n".join([text, *map(markdown_text, sheet.remarks), sheet.note])


def _as_json(sheet: Sheet) -> str:
    rows = []
    for line in sheet.lines:
        metrics = {name: asdict(value) for name, value in line.values.items()}
        rows.append({**line.names, "seeds": line.seeds, "metrics": metrics})
    remarks = {"remarks": sheet.remarks} if sheet.remarks else {}
    return to_json({"title": sheet.title, **remarks, "rows": rows}, indent=2)


def _comma_separated(sheet: Sheet) -> str:
    names = sorted({name for line in sheet.lines for name in line.values})
    parts = [f"{name}:{part}" for name in names for part in EXACT[1:5]]
    remarks = ["; ".join(sheet.remarks)] * bool(sheet.remarks)
    rows: list[list[Any]] = [[*sheet.fields, "n", *parts, *(["remarks"] * len(remarks))]]
    for line in sheet.lines:
        found = (number for name in names for number in exact(line.values.get(name))[1:5])
        rows.append([*sheet.names_of(line), *found, *remarks])
    return csv_text(rows).rstrip("\n")
