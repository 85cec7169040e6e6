"""Leaderboards as text: rich tables, Markdown, LaTeX, CSV, JSON."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from enum import IntEnum
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backbench.leaderboard import FIELDS, LIFTS, Leaderboard, Row, extremes, group, ranks
from backbench.plugin import Column
from backbench.statistics import FEW, Summary

#: What the marks of a number of seeds say.
COUNT_NOTE = "* fewer than 3 seeds, ° a control is missing, ✗ a stage failed"

NOTE = (
    "FP: pictures of other classes taken for the target class; ASR: their share; trig.: with the "
    "trigger; control: the same with an encoder trained on clean data; ±: standard deviation over "
    f"n seeds; {COUNT_NOTE}; ▲ best, ▼ worst of a column, among rows of one evaluator: 95 % "
    "intervals (Student's t, over seeds and pictures) apart, ties marked alike; rows that are "
    "incomplete, stale (§) or imported (‡) are not ranked"
)


#: Wider than any table, in characters.
_WIDE = 10_000

#: What marks the method of a row whose weights were not trained here.
FOREIGN = " †"

#: What marks the method of a row that an older revision of a plugin made.
STALE = " §"

#: What marks the method of a row of which a sentinel has something to say; it stands below.
FLAGGED = " ¶"

FOREIGN_NOTE = "† foreign: weights that were not trained here"

#: What marks the method of a row of an imported bundle; the number of its footnote follows.
IMPORTED = " ‡"


def protocol_line(board: Leaderboard) -> str:
    """Return what stands under a table: the protocol card, and what a mark on a row says."""
    line = "no protocol: the options are the benchmark file's own"
    if board.protocol:
        line = f"protocol {board.protocol}"
    line = f"{line}; {board.rescored}" if board.rescored else line
    stale = ", ".join(dict.fromkeys(row.stale for row in board.rows if row.stale))
    line = f"{line}; § stale: {stale}: backbench run --refresh stale" if stale else line
    return f"{line}; {FOREIGN_NOTE}" if any(row.foreign for row in board.rows) else line


def footnotes(board: Leaderboard) -> list[str]:
    """Return where reported figures and imported rows come from, and what was flagged."""
    notes = _notes(board).items()
    flags = dict.fromkeys(flag for row in board.rows for flag in row.flags)
    return [
        *(f"[{number}] {source}: {setting}" for (source, setting), number in notes),
        *(f"{mark.strip()} imported: {origin}" for origin, mark in _origins(board).items()),
        *(f"{FLAGGED.strip()} flagged: {flag}" for flag in flags),
    ]


def _origins(board: Leaderboard) -> dict[str, str]:
    """Return the mark of each imported bundle of which there are rows."""
    found = dict.fromkeys(row.origin for row in board.rows if row.origin)
    return {origin: f"{IMPORTED}{number}" for number, origin in enumerate(found, start=1)}


def _notes(board: Leaderboard) -> dict[tuple[str, str], int]:
    """Number the sources of reported figures, in the order of the rows."""
    found = ((one.source, one.setting) for row in board.rows for one in row.reported.values())
    return {note: number for number, note in enumerate(dict.fromkeys(found), start=1)}


def _reported(
    row: Row, column: Column, notes: Mapping[tuple[str, str], int], *, missing: str = ""
) -> str:
    """Format a figure that others have published: ``.576 [1]``."""
    figure = row.reported.get(column.metric)
    if figure is None:
        return missing
    return f"{number(figure.value, column.decimals)} [{notes[figure.source, figure.setting]}]"


def _is_reported(board: Leaderboard, column: Column) -> bool:
    return any(column.metric in row.reported for row in board.rows)


def number(value: float, decimals: int) -> str:
    """Format a number: ``.940`` for a fraction, ``349`` for a count."""
    text = f"{value:.{decimals}f}"
    if decimals and text.startswith("0."):
        return text[1:]
    return text.replace("-0.", "-.", 1) if decimals else text


def spread(summary: Summary | None, decimals: int, *, with_std: bool = True) -> str:
    """Format a summary: ``.940 ±.004``; one seed has no spread."""
    if summary is None:
        return "–"
    text = number(summary.mean, decimals)
    if summary.std is None or not with_std:
        return text
    return f"{text} ±{number(summary.std, decimals)}"


def print_tables(board: Leaderboard, by: str | None, console: Console) -> None:
    """Print the leaderboard as tables, one a group.

    A terminal that is too narrow for everything loses the spread of the controls first, then all
    spreads; what is written to a file is never narrowed.
    """
    for title, part in group(board, by):
        width = _WIDE
        for detail in _Detail:
            table = _table(title, part, by, detail)
            if not console.is_terminal:
                break  # as wide as it comes: measuring a table takes as long as printing it
            width = console.measure(table, options=console.options.update(width=_WIDE)).maximum
            if width <= console.width:
                break
        narrow = console.width
        console.width = max(width, narrow)
        console.print(table)
        console.width = narrow
        under = "\n".join([protocol_line(part), *footnotes(part)])
        console.print(Text(f"{under}\n", "dim"), soft_wrap=not console.is_terminal)
    console.print(Text(NOTE, "dim"), soft_wrap=not console.is_terminal)


class _Detail(IntEnum):
    """How much of a summary is shown."""

    ALL = 0
    NO_SPREAD_OF_CONTROLS = 1
    NO_SPREAD = 2


def _table(title: str, board: Leaderboard, by: str | None, detail: _Detail) -> Table:
    fields = _fields(board, by)
    columns = _columns(board)
    counts = {_count(row) for row in board.rows}
    same = f"n = {counts.pop()}" if len(counts) == 1 else ""
    tight = detail == _Detail.NO_SPREAD
    table = Table(
        title=" · ".join(filter(None, (board.benchmark, title, same))),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0 if tight else 1),
    )
    for name in fields:
        table.add_column(name.capitalize(), no_wrap=True)
    if not same:
        table.add_column("n", justify="right", no_wrap=True)
    for column in columns:
        heading = column.title.replace(" ", "\n") if tight else column.title
        table.add_column(heading, justify="right", no_wrap=True)
        for heading in _beside(board, column, tight=tight):
            table.add_column(heading, justify="right", style="dim", no_wrap=True)
    marks, notes, origins = extremes(board), _notes(board), _origins(board)
    methods = [row.names["method"] for row in board.rows]
    blocks = 1 + sum(one != two for one, two in itertools.pairwise(methods))
    apart = blocks == len(set(methods))  # not where rows have been sorted by something else
    previous: Row | None = None
    for index, row in enumerate(board.rows):
        if apart and previous is not None and row.names["method"] != previous.names["method"]:
            table.add_section()
        previous = row
        cells: list[Text | str] = [Text(_name(row, name, origins)) for name in fields]
        if not same:
            cells.append(_count(row))
        for column in columns:
            value = row.values.get(column.metric)
            text = spread(value, column.decimals, with_std=detail < _Detail.NO_SPREAD)
            cells.append(_marked(text, column, index, marks))
            if column.control:
                control = row.controls.get(column.metric)
                cells.append(spread(control, column.decimals, with_std=detail == _Detail.ALL))
            cells += [_reported(row, column, notes)] * _is_reported(board, column)
        table.add_row(*cells)
    return table


def _beside(board: Leaderboard, column: Column, *, tight: bool) -> Iterator[str]:
    """Yield the headings of what stands to the right of a column."""
    if column.control:
        yield "con-\ntrol" if tight else "control"
    if _is_reported(board, column):
        yield "re-\nported" if tight else "reported"


def _marked(
    text: str, column: Column, index: int, marks: dict[tuple[str, str], frozenset[int]]
) -> Text:
    if index in marks.get((column.metric, "best"), ()):
        return Text(f"{text} ▲", "bold green")
    if index in marks.get((column.metric, "worst"), ()):
        return Text(f"{text} ▼", "red")
    return Text(f"{text}  ")


def _name(row: Row, field: str, origins: Mapping[str, str]) -> str:
    if field != "method":
        return row.names[field]
    marks = FOREIGN * row.foreign + STALE * bool(row.stale) + FLAGGED * bool(row.flags)
    return row.names[field] + marks + origins.get(row.origin, "")


def _count(row: Row) -> str:
    done = len(row.seeds)
    count = str(done) if done == row.planned else f"{done}/{row.planned}"
    marks = "*" * (0 < done < FEW) + "°" * bool(row.uncontrolled) + "✗" * bool(row.problem)
    return f"{count} {marks}" if marks else count


def _fields(board: Leaderboard, by: str | None) -> list[str]:
    """Return the fields worth a column: not the group, not a data set that is the only one."""
    datasets = {row.names["dataset"] for row in board.rows}
    return [name for name in FIELDS if name != by and not (name == "dataset" and len(datasets) < 2)]


def _columns(board: Leaderboard) -> list[Column]:
    """Return the columns in which some row has a number."""
    return [
        column for column in board.columns if any(column.metric in row.values for row in board.rows)
    ]


def _plain(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    columns, notes, origins = _columns(board), _notes(board), _origins(board)
    header = [*FIELDS, "n"]
    for column in columns:
        header += [column.title, *([f"{column.title} control"] if column.control else [])]
        header += [f"{column.title} reported"] if _is_reported(board, column) else []
    body = []
    for row in board.rows:
        line = [*(_name(row, name, origins) for name in FIELDS), _count(row)]
        for column in columns:
            line.append(spread(row.values.get(column.metric), column.decimals))
            if column.control:
                line.append(spread(row.controls.get(column.metric), column.decimals))
            if _is_reported(board, column):
                line.append(_reported(row, column, notes, missing="–"))
        body.append(line)
    return header, body


def _tabulated(board: Leaderboard, style: str) -> str:
    from tabulate import tabulate

    header, body = _plain(board)
    align: Sequence[str] = ["left"] * len(FIELDS) + ["right"] * (len(header) - len(FIELDS))
    return tabulate(body, header, tablefmt=style, colalign=align, disable_numparse=True)


def markdown(board: Leaderboard) -> str:
    """Return a Markdown table for each protocol."""
    parts = [
        "\n\n".join([_tabulated(part, "github"), protocol_line(part), *footnotes(part)])
        for _, part in group(board, None)
    ]
    return "\n\n".join([*parts, NOTE])


def latex(board: Leaderboard) -> str:
    """Return a LaTeX table with booktabs rules for each protocol."""
    parts = [
        "\n\\par ".join(
            [
                _tabulated(part, "latex_booktabs"),
                protocol_line(part),
                *(re.sub(r"([%_#&$])", r"\\\1", note) for note in footnotes(part)),
                *[COUNT_NOTE] * any(not _count(row)[-1].isdigit() for row in part.rows),
            ]
        )
        for _, part in group(board, None)
    ]
    body = "\n\n".join(parts)
    commands = {
        "±": r"$\pm$",
        "–": "--",
        "✗": r"$\times$",
        "°": r"$^\circ$",
        "†": r"$\dagger$",
        "‡": r"$\ddagger$",
        "§": r"\S{}",
        "¶": r"\P{}",
    }
    for character, command in commands.items():
        body = body.replace(character, command)
    return body


def comma_separated(board: Leaderboard) -> str:
    """Return CSV: one line a row, mean, standard deviation and interval of every metric."""
    metrics = sorted({metric for row in board.rows for metric in row.values})
    parts = ("n", "mean", "std", "ci95", "over")
    header = ["protocol", *FIELDS, "foreign", "origin", "n", "planned", "complete"]
    places = ranks(board)
    for metric in metrics:
        for kind in _kinds(metric):
            header += [f"{metric}{kind}:{part}" for part in parts]
        header += [f"{metric}:rank"] * (metric in places)
    reported = sorted({metric for row in board.rows for metric in row.reported})
    for metric in reported:
        header += [f"{metric}:reported", f"{metric}:reported:source"]
    header += ["rescored"] * bool(board.rescored)
    some_stale = any(row.stale for row in board.rows)
    header += ["stale"] * some_stale
    some_flagged = any(row.flags for row in board.rows)
    header += ["flags"] * some_flagged
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for index, row in enumerate(board.rows):
        names = (row.names[name] for name in FIELDS)
        foreign, complete = ("yes" if one else "no" for one in (row.foreign, row.complete))
        line: list[Any] = [row.protocol, *names, foreign, row.origin]
        line += [len(row.seeds), row.planned, complete]
        for metric in metrics:
            for kind in _kinds(metric):
                summary = getattr(row, _KINDS[kind]).get(metric)
                for part in parts:
                    value = getattr(summary, part) if summary is not None else None
                    line.append("" if value is None else value)
            line += [places[metric].get(index, "")] if metric in places else []
        for metric in reported:
            figure = row.reported.get(metric)
            line += [figure.value, f"{figure.source}: {figure.setting}"] if figure else ["", ""]
        line += [board.rescored] * bool(board.rescored)
        line += [row.stale] * some_stale
        line += ["\n".join(map(str, row.flags))] * some_flagged
        writer.writerow(line)
    return out.getvalue().rstrip("\n")


#: Where a row keeps a metric's own numbers, those of its control and those of the lift.
_KINDS = {"": "values", ":control": "controls", ":lift": "lifts"}


def _kinds(metric: str) -> Sequence[str]:
    return [""] if metric in LIFTS else list(_KINDS)


def as_json(board: Leaderboard) -> str:
    """Return JSON: every row with the values of each seed."""
    places = ranks(board)
    rows = [
        {
            **row.names,
            "protocol": row.protocol,
            "foreign": row.foreign,
            "origin": row.origin,
            "seeds": row.seeds,
            "planned": row.planned,
            "complete": row.complete,
            "uncontrolled": row.uncontrolled,
            "metrics": {name: asdict(value) for name, value in row.values.items()},
            "controls": {name: asdict(value) for name, value in row.controls.items()},
            "lifts": {name: asdict(value) for name, value in row.lifts.items()},
            "ranks": {name: found[index] for name, found in places.items() if index in found},
            "reported": {name: asdict(value) for name, value in row.reported.items()},
            "problem": row.problem,
            **({"stale": row.stale} if row.stale else {}),
            **({"flags": [flag._asdict() for flag in row.flags]} if row.flags else {}),
        }
        for index, row in enumerate(board.rows)
    ]
    content: dict[str, Any] = {"benchmark": board.benchmark, "protocol": board.protocol}
    content |= {"rescored": board.rescored} if board.rescored else {}
    content["rows"] = rows
    return json.dumps(content, indent=2)


def print_board(board: Leaderboard, style: str, by: str | None, console: Console) -> None:
    """Print a leaderboard.

    Args:
        board: What to print.
        style: ``table``, ``json``, ``csv``, ``markdown`` or ``latex``.
        by: Field that splits a table into several; only for ``table``.
        console: Where to.
    """
    if style == "table":
        print_tables(board, by, console)
        return
    formats = {"json": as_json, "csv": comma_separated, "markdown": markdown, "latex": latex}
    console.file.write(formats[style](board) + "\n")
