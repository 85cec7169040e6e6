"""Leaderboards as text: rich tables, Markdown, LaTeX, HTML, CSV, JSON."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from rich.console import Console
from rich.text import Text

from backbench.model import Axis
from backbench.plugin import Column
from backbench.report.grid import Grid, Number, print_grid, tabulated
from backbench.report.numbers import (
    INTERVAL_NOTE,
    SEEDS_ONLY,
    interval,
    number,
    spread,
    whole,
)
from backbench.results.leaderboard import LIFTS, Leaderboard, Row, extremes, group, ranks
from backbench.results.statistics import FEW, Summary

#: What the marks of a number of seeds say.
COUNT_NOTE = "* fewer than 3 seeds, ° a control is missing, ✗ a stage failed"

NOTE = (
    "FP: images of other classes taken for the target class; ASR: their share; trig.: with the "
    f"trigger; control: the same with an encoder trained on clean data; {INTERVAL_NOTE}; "
    f"{COUNT_NOTE}; ▲ best, ▼ worst of a column, among rows of one evaluator: intervals apart, "
    "ties marked alike; rows that are incomplete, outdated (§) or imported (‡) are not ranked"
)


#: What marks the method of a row whose weights were not trained here.
EXTERNAL = " †"

#: What marks the method of a row that an older revision of a plugin made.
OUTDATED = " §"

#: Mark at the method of a row that a sentinel has flagged; the sentence is below the table.
FLAGGED = " ¶"

EXTERNAL_NOTE = "† external: weights that were not trained here"

#: What marks the method of a row of an imported bundle; the number of its footnote follows.
IMPORTED = " ‡"


def protocol_line(board: Leaderboard) -> str:
    """Return the notes under a table: the protocol card, and the meaning of marks."""
    line = "no protocol: the options are the benchmark file's own"
    if board.protocol:
        line = f"protocol {board.protocol}"
    line = "; ".join(filter(None, (line, board.rescored, board.folded)))
    outdated = ", ".join(dict.fromkeys(row.outdated for row in board.rows if row.outdated))
    line = f"{line}; § outdated: {outdated}: backbench run --refresh outdated" if outdated else line
    return f"{line}; {EXTERNAL_NOTE}" if any(row.external for row in board.rows) else line


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


def print_tables(board: Leaderboard, by: str | None, console: Console) -> None:
    """Print the leaderboard as tables, one a group.

    A terminal that is too narrow for all columns gets each table in parts.
    """
    for title, part in group(board, by):
        print_grid(_grid(title, part, by), console)
        under = "\n".join([protocol_line(part), *footnotes(part)])
        console.print(Text(f"{under}\n", "dim"), soft_wrap=not console.is_terminal)
    console.print(Text(NOTE, "dim"), soft_wrap=not console.is_terminal)


def _grid(title: str, board: Leaderboard, by: str | None) -> Grid:
    fields = _fields(board, by)
    counts = {_count(row) for row in board.rows}
    same = f"n = {counts.pop()}" if len(counts) == 1 else ""
    columns, marks = _columns(board), extremes(board)
    notes, origins = _notes(board), _origins(board)
    lines = []
    for index, row in enumerate(board.rows):
        names = [_name(row, name, origins) for name in fields]
        numbers: list[Number] = []
        for column in columns:
            value = row.values.get(column.metric)
            numbers.append(_stacked(value, column, _mark(column, index, marks)))
            if column.control:
                numbers.append(_stacked(row.controls.get(column.metric), column, ("", "")))
            if _is_reported(board, column):
                numbers.append(Number(_reported(row, column, notes)))
        lines.append((names if same else [*names, _count(row)], numbers))
    methods = [row.names["method"] for row in board.rows]
    ends = [at for at, (one, two) in enumerate(itertools.pairwise(methods)) if one != two]
    apart = len(ends) + 1 == len(set(methods))  # not where rows have been sorted by something else
    return Grid(
        title=" · ".join(filter(None, (board.benchmark, title, same))),
        names=[*(name.capitalize() for name in fields), *([] if same else ["n"])],
        groups=[[column.title, *_beside(board, column)] for column in columns],
        lines=lines,
        after=ends if apart else (),
        dim=_BESIDE,
    )


#: The headings of further numbers next to a column.
_BESIDE = ("control", "reported")


def _beside(board: Leaderboard, column: Column) -> list[str]:
    shown = (column.control, _is_reported(board, column))
    return [heading for heading, is_shown in zip(_BESIDE, shown, strict=True) if is_shown]


def _stacked(summary: Summary | None, column: Column, mark: tuple[str, str]) -> Number:
    """Return mean and spread with the interval below; a mark is to their right."""
    sign, style = mark
    text = f"{spread(summary, column.decimals)}{sign or '  ' * (column.best is not None)}"
    return Number(text, style, interval(summary, column.decimals))


def _mark(
    column: Column, index: int, marks: dict[tuple[str, str], frozenset[int]]
) -> tuple[str, str]:
    if index in marks.get((column.metric, "best"), ()):
        return " ▲", "bold green"
    if index in marks.get((column.metric, "worst"), ()):
        return " ▼", "red"
    return "", ""


def _name(row: Row, field: str, origins: Mapping[str, str]) -> str:
    if field != "method":
        return row.names[field]
    marks = EXTERNAL * row.external + OUTDATED * bool(row.outdated) + FLAGGED * bool(row.flags)
    return row.names[field] + marks + origins.get(row.origin, "")


def _count(row: Row) -> str:
    done = len(row.seeds)
    count = str(done) if done == row.planned else f"{done}/{row.planned}"
    marks = "*" * (0 < done < FEW) + "°" * bool(row.uncontrolled) + "✗" * bool(row.problem)
    return f"{count} {marks}" if marks else count


def _fields(board: Leaderboard, by: str | None) -> list[str]:
    """Return the fields worth a column: not the group, not a dataset that is the only one."""
    datasets = {row.names["dataset"] for row in board.rows}
    return [name for name in Axis if name != by and not (name == "dataset" and len(datasets) < 2)]


def _columns(board: Leaderboard) -> list[Column]:
    """Return the columns in which some row has a number."""
    return [
        column for column in board.columns if any(column.metric in row.values for row in board.rows)
    ]


def _plain(
    board: Leaderboard, form: Callable[[Summary | None, int], str]
) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the lines of a table.

    Args:
        board: The leaderboard.
        form: Formats a summary with a number of decimals.
    """
    columns, notes, origins = _columns(board), _notes(board), _origins(board)
    header = [*Axis, "n"]
    for column in columns:
        beside = (f"{column.title} {heading}" for heading in _beside(board, column))
        header += [column.title, *beside]
    body = []
    for row in board.rows:
        line = [*(_name(row, name, origins) for name in Axis), _count(row)]
        for column in columns:
            line.append(form(row.values.get(column.metric), column.decimals))
            if column.control:
                line.append(form(row.controls.get(column.metric), column.decimals))
            if _is_reported(board, column):
                line.append(_reported(row, column, notes, missing="–"))
        body.append(line)
    return header, body


def _tabulated(header: Sequence[str], body: Sequence[Sequence[str]], style: str) -> str:
    return tabulated(header, body, style, len(header) - len(Axis))


def markdown(board: Leaderboard) -> str:
    """Return a Markdown table for each protocol."""
    parts = [
        "\n\n".join(
            [_tabulated(*_plain(part, whole), "markdown"), protocol_line(part), *footnotes(part)]
        )
        for _, part in group(board, None)
    ]
    return "\n\n".join([*parts, NOTE])


def latex(board: Leaderboard) -> str:
    """Return a LaTeX table with booktabs rules for each protocol; intervals below the numbers."""
    parts = []
    for _, part in group(board, None):
        header, numbers = _plain(part, spread)
        _, intervals = _plain(part, interval)
        body = []
        for line, below in zip(numbers, intervals, strict=True):
            found = [cell if cell.startswith("[") and "," in cell else "" for cell in below]
            body += [line, *([found] if any(found) else [])]
        table = _tabulated(header, body, "latex")
        table = table.replace(r"\textasciitilde{}", SEEDS_ONLY)
        table = re.sub(r"(\[\S+, \S+\]~?)", r"{\\scriptsize \1}", table)
        notes = [re.sub(r"([%_#&$])", r"\\\1", note) for note in (*footnotes(part), INTERVAL_NOTE)]
        counted = [COUNT_NOTE] * any(not _count(row)[-1].isdigit() for row in part.rows)
        parts.append("\n\\par ".join([table, protocol_line(part), *notes, *counted]))
    body_text = "\n\n".join(parts)
    commands = {
        "±": r"$\pm$",
        "–": "--",
        "✗": r"$\times$",
        "°": r"$^\circ$",
        "†": r"$\dagger$",
        "‡": r"$\ddagger$",
        "§": r"\S{}",
        "¶": r"\P{}",
        SEEDS_ONLY: r"$\sim$",
    }
    for character, command in commands.items():
        body_text = body_text.replace(character, command)
    return body_text


def html(board: Leaderboard) -> str:
    """Return an HTML table for each protocol, to be put into a page."""
    parts = []
    for _, part in group(board, None):
        header, body = _plain(part, lambda one, decimals: whole(one, decimals, "\n"))
        cells = [[escape(cell).replace("\n", "<br>") for cell in line] for line in body]
        parts.append(_tabulated([escape(heading) for heading in header], cells, "html"))
        parts += [f"<p>{escape(note)}</p>" for note in (protocol_line(part), *footnotes(part))]
    return "\n".join([*parts, f"<p>{escape(NOTE)}</p>"])


def comma_separated(board: Leaderboard) -> str:
    """Return CSV: one line a row, mean, standard deviation and interval of every metric."""
    metrics = sorted({metric for row in board.rows for metric in row.values})
    parts = ("n", "mean", "std", "ci95_low", "ci95_high", "over")
    header = ["protocol", *Axis, "external", "origin", "n", "planned", "complete"]
    rankings = ranks(board)
    for metric in metrics:
        for kind in _kinds(metric):
            header += [f"{metric}{kind}:{part}" for part in parts]
        header += [f"{metric}:rank"] * (metric in rankings)
    reported = sorted({metric for row in board.rows for metric in row.reported})
    for metric in reported:
        header += [f"{metric}:reported", f"{metric}:reported:source"]
    header += ["rescored"] * bool(board.rescored)
    some_outdated = any(row.outdated for row in board.rows)
    header += ["outdated"] * some_outdated
    some_flagged = any(row.flags for row in board.rows)
    header += ["flags"] * some_flagged
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for index, row in enumerate(board.rows):
        names = (row.names[name] for name in Axis)
        external, complete = ("yes" if one else "no" for one in (row.external, row.complete))
        line: list[Any] = [row.protocol, *names, external, row.origin]
        line += [len(row.seeds), row.planned, complete]
        for metric in metrics:
            for kind in _kinds(metric):
                summary = getattr(row, _KINDS[kind]).get(metric)
                line += _numbers(summary)
            line += [rankings[metric].get(index, "")] if metric in rankings else []
        for metric in reported:
            figure = row.reported.get(metric)
            line += [figure.value, f"{figure.source}: {figure.setting}"] if figure else ["", ""]
        line += [board.rescored] * bool(board.rescored)
        line += [row.outdated] * some_outdated
        line += ["\n".join(map(str, row.flags))] * some_flagged
        writer.writerow(line)
    return out.getvalue().rstrip("\n")


def _numbers(summary: Summary | None) -> list[Any]:
    """Return n, mean, standard deviation, both ends of the interval, and what it allows for."""
    if summary is None:
        return [""] * 6
    low, high = summary.ci95 or ("", "")
    std = "" if summary.std is None else summary.std
    return [summary.n, summary.mean, std, low, high, summary.over]


#: Where a row keeps a metric's own numbers, those of its control and those of the lift.
_KINDS = {"": "values", ":control": "controls", ":lift": "lifts"}


def _kinds(metric: str) -> Sequence[str]:
    return [""] if metric in LIFTS else list(_KINDS)


def as_json(board: Leaderboard) -> str:
    """Return JSON: every row with the values of each seed."""
    rankings = ranks(board)
    rows = [
        {
            **row.names,
            "protocol": row.protocol,
            "external": row.external,
            "origin": row.origin,
            "seeds": row.seeds,
            "planned": row.planned,
            "complete": row.complete,
            "uncontrolled": row.uncontrolled,
            "metrics": {name: asdict(value) for name, value in row.values.items()},
            "controls": {name: asdict(value) for name, value in row.controls.items()},
            "lifts": {name: asdict(value) for name, value in row.lifts.items()},
            "ranks": {name: found[index] for name, found in rankings.items() if index in found},
            "reported": {name: asdict(value) for name, value in row.reported.items()},
            "problem": row.problem,
            **({"outdated": row.outdated} if row.outdated else {}),
            **({"flags": [flag._asdict() for flag in row.flags]} if row.flags else {}),
        }
        for index, row in enumerate(board.rows)
    ]
    content: dict[str, Any] = {"benchmark": board.benchmark, "protocol": board.protocol}
    content |= {"rescored": board.rescored} if board.rescored else {}
    content |= {"folded": board.folded} if board.folded else {}
    content["interval"] = INTERVAL_NOTE
    content["rows"] = rows
    return json.dumps(content, indent=2)


def print_board(board: Leaderboard, style: str, by: str | None, console: Console) -> None:
    """Print a leaderboard.

    Args:
        board: What to print.
        style: One of :data:`FORMATS`.
        by: Field that splits a table into several; only for ``table``.
        console: Where to.
    """
    if style == "table":
        print_tables(board, by, console)
    else:
        console.file.write(_WRITERS[style](board) + "\n")


_WRITERS: Mapping[str, Callable[[Leaderboard], str]] = {
    "json": as_json,
    "csv": comma_separated,
    "markdown": markdown,
    "latex": latex,
    "html": html,
}

#: The forms in which a leaderboard can be printed.
FORMATS = ("table", *_WRITERS)
