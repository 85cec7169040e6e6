"""A table besides the leaderboard: its lines, and its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from rich.console import Console
from rich.text import Text

from backbench.errors import UsageError
from backbench.plugin import Column
from backbench.report.console import make_console
from backbench.report.grid import Grid, Number, latex_symbols, print_grid, tabulated
from backbench.report.numbers import EXACT, exact, interval, spread, whole
from backbench.results.statistics import Summary
from backbench.system.escaping import csv_text, html_text
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

    ``nothing`` is the reason why there are no lines, if there are none.
    """

    title: str
    fields: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    note: str
    nothing: str

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


def print_sheet(sheet: Sheet, style: str, console: Console | None = None) -> None:
    """Print a table as ``table``, ``json``, ``csv``, ``markdown``, ``latex`` or ``html``."""
    if not sheet.lines:
        raise UsageError(f"{sheet.title}: {sheet.nothing}")
    console = console or make_console()
    if style == "parquet":
        raise UsageError(
            "--format parquet is of the leaderboard: choose csv or json for this table"
        )
    if style == "table":
        print_grid(_grid(sheet), console)
        console.print(Text(sheet.note, "dim"), soft_wrap=not console.is_terminal)
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
        return f"{text}\n<p>{html_text(sheet.note)}</p>"
    return latex_symbols(text) if style == "latex" else f"{text}\n\n{sheet.note}"


def _as_json(sheet: Sheet) -> str:
    rows = []
    for line in sheet.lines:
        metrics = {name: asdict(value) for name, value in line.values.items()}
        rows.append({**line.names, "seeds": line.seeds, "metrics": metrics})
    return to_json({"title": sheet.title, "rows": rows}, indent=2)


def _comma_separated(sheet: Sheet) -> str:
    names = sorted({name for line in sheet.lines for name in line.values})
    parts = [f"{name}:{part}" for name in names for part in EXACT[1:5]]
    rows: list[list[Any]] = [[*sheet.fields, "n", *parts]]
    for line in sheet.lines:
        found = (number for name in names for number in exact(line.values.get(name))[1:5])
        rows.append([*sheet.names_of(line), *found])
    return csv_text(rows).rstrip("\n")
