"""The leaderboard as tables of the page: numbers with their intervals drawn. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from backbench.model import Axis
from backbench.plugin import Column
from backbench.plugin.infos import OWN_METRICS
from backbench.report.html.bars import NARROW, WIDE, bar, domain_of
from backbench.report.html.table import Cell, Heading, Table
from backbench.report.numbers import interval, number, spread
from backbench.report.sheet import Sheet
from backbench.report.tables import (
    columns_of,
    has_marks,
    legend_of,
    name_of,
    notes_under,
    origins_of,
    reported_text,
    seeds_of,
    sources_of,
)
from backbench.results.filtering import differing, group
from backbench.results.leaderboard import Leaderboard, Row, decimals_of
from backbench.results.ranking import extremes
from backbench.results.statistics import Bounds, Summary

#: A table of more columns has narrow bars: at 1280 px it does not scroll sideways.
_MANY = 11

_SIGNS = {"best": "▲", "worst": "▼"}


def leaderboard_tables(
    board: Leaderboard,
    links: Sequence[str],
    caption: str = "",
    *,
    is_main: bool = False,
    first: Mapping[str, Sequence[Cell]] | None = None,
) -> list[Table]:
    """Return a table for each protocol; rows of different protocols are not compared.

    Args:
        board: The leaderboard.
        links: The address of the section of each row, or nothing.
        caption: What the tables show.
        is_main: A reader can filter the rows.
        first: Headings and cells of columns before all others.
    """
    before = first or {}
    marks = {
        (index, metric): _SIGNS[end]
        for (metric, end), rows in extremes(board).items()
        for index in rows
    }
    positions: dict[str, list[int]] = {}
    for index, row in enumerate(board.rows):
        positions.setdefault(row.protocol, []).append(index)
    tables = []
    for _, part in group(board, None):
        at = positions[part.protocol]
        headings, rows = _lines(part, at, links, marks, len(before))
        title = " · ".join(filter(None, (caption, part.protocol and f"protocol {part.protocol}")))
        headings = [*(Heading(title, field=title.lower()) for title in before), *headings]
        rows = [
            [*(cells[i] for cells in before.values()), *row]
            for i, row in zip(at, rows, strict=True)
        ]
        notes = [*notes_under(part), legend_of(part)]
        tables.append(Table(title, headings, rows, notes, is_main))
    return tables


def _lines(
    board: Leaderboard,
    positions: Sequence[int],
    links: Sequence[str],
    marks: Mapping[tuple[int, str], str],
    before: int,
) -> tuple[list[Heading], list[list[Cell]]]:
    columns, origins, sources = columns_of(board), origins_of(board.rows), sources_of(board)
    apart = {*differing(row.names for row in board.rows), *([Axis.METHOD] * has_marks(board))}
    fields = [axis for axis in Axis if axis in apart] or [Axis.METHOD]
    counts = len({seeds_of(row) for row in board.rows}) > 1
    headings = [Heading(name.capitalize(), field=name) for name in fields]
    headings += [Heading("n", is_number=True)] * counts
    for column, beside in columns:
        headings.append(Heading(column.title, is_number=True, about=column.metric))
        headings += [Heading(f"{column.title} reported", is_number=True)] * ("reported" in beside)
    domains = {column.metric: _domain(column, board.rows) for column, _ in columns}
    width = NARROW if before + len(headings) > _MANY else WIDE
    lines = []
    for row, position in zip(board.rows, positions, strict=True):
        line = [Cell(name_of(row, name, origins)) for name in fields]
        line[0] = replace(line[0], link=links[position] if links else "")
        line += [Cell(seeds_of(row), float(len(row.seeds)))] * counts
        for column, beside in columns:
            mark = marks.get((position, column.metric), "")
            line.append(_number(row, column, domains[column.metric], mark, width))
            if "reported" in beside:
                figure = row.reported.get(column.metric)
                line.append(
                    Cell(reported_text(row, column, sources), figure.value if figure else None)
                )
        lines.append(line)
    return headings, lines


def _domain(column: Column, rows: Sequence[Row]) -> Bounds:
    both = [source for row in rows for source in (row.values, row.controls)]
    found = [one[column.metric] for one in both if column.metric in one]
    return domain_of(column.bounds or OWN_METRICS.get(column.metric), found)


def _number(row: Row, column: Column, domain: Bounds, mark: str, width: int) -> Cell:
    summary = row.values.get(column.metric)
    control = row.controls.get(column.metric) if column.control else None
    decimals = column.decimals
    if summary is None:
        return Cell("–")
    return Cell(
        number(summary.mean, decimals),
        summary.mean if math.isfinite(summary.mean) else None,
        below=interval(summary, decimals),
        control=number(control.mean, decimals) if control is not None else "",
        mark=mark,
        bar=bar(summary, control, domain, width),
    )


def sheet_table(sheet: Sheet, caption: str) -> Table:
    """Return the table of what defenses found, cost and gave away."""
    columns = sheet.shown
    headings = [Heading(name, is_number=name == "n") for name in sheet.names]
    headings += [Heading(column.title, is_number=True, about=column.metric) for column in columns]
    rows = []
    for line in sheet.lines:
        *names, n = sheet.names_of(line)
        cells = [*map(Cell, names), Cell(n, float(n))]
        for column in columns:
            value = line.values.get(column.metric)
            cells.append(
                Cell(
                    spread(value, column.decimals),
                    value.mean if value is not None and math.isfinite(value.mean) else None,
                    below=interval(value, column.decimals),
                )
            )
        rows.append(cells)
    return Table(caption, headings, rows, [*sheet.remarks, sheet.note])


def metrics_table(row: Row, columns: Mapping[str, Column]) -> Table:
    """Return all numbers of a row: mean, spread, interval, control, lift and each seed's value.

    What the leaderboard shows comes first.
    """
    headings = [Heading("Metric")]
    headings += [
        Heading(title, is_number=True)
        for title in ("Mean", "Std", "95 % interval", "Control", "Lift", "n")
    ]
    headings.append(Heading("Each seed"))
    rows = []
    for metric in sorted(row.values, key=lambda metric: metric not in columns):
        column, value = columns.get(metric), row.values[metric]
        decimals = decimals_of(metric) if column is None else column.decimals
        title = f"{column.title} ({metric})" if column is not None else metric
        control, lift = row.controls.get(metric), row.lifts.get(metric)
        rows.append(
            [
                Cell(title),
                Cell(number(value.mean, decimals), value.mean),
                Cell("–" if value.std is None else number(value.std, decimals), value.std),
                Cell(interval(value, decimals) or "–"),
                Cell("–" if control is None else number(control.mean, decimals)),
                Cell("–" if lift is None else _signed(lift, decimals)),
                Cell(str(value.n), float(value.n)),
                Cell("  ".join(number(one, decimals) for one in value.values)),
            ]
        )
    return Table("Numbers", headings, rows)


def _signed(lift: Summary, decimals: int) -> str:
    below = interval(lift, decimals)
    text = f"{'+' if lift.mean > 0 else ''}{number(lift.mean, decimals)}"
    return f"{text} {below}".rstrip()
