"""Leaderboards as text: rich tables, Markdown, LaTeX, HTML, CSV, JSON."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from rich.console import Console
from rich.text import Text

from backbench.errors import printable
from backbench.model import NONE, Axis
from backbench.plugin import Column
from backbench.report.grid import Grid, Number, fits, latex_symbols, print_grid, tabulated
from backbench.report.numbers import (
    EXACT,
    INTERVAL_NOTE,
    count,
    exact,
    interval,
    number,
    spread,
    whole,
)
from backbench.results.filtering import group
from backbench.results.leaderboard import LIFTS, Leaderboard, Reported, Row
from backbench.results.ranking import extremes, ranks
from backbench.results.statistics import FEW, Summary
from backbench.system.escaping import csv_text, html_text, latex_text, markdown_text
from backbench.system.json_text import to_json

_COUNT_NOTE = "* fewer than 3 seeds, ° a control is missing, ✗ a stage failed"

_COMMON = (
    f"{INTERVAL_NOTE}; {_COUNT_NOTE}; ▲ best, ▼ worst of a column, among rows of one dataset "
    "and evaluator: intervals apart, ties marked alike; rows that are incomplete, outdated (§) or "
    "imported (‡) are not ranked"
)

NOTE = (
    "FP: images of other classes taken for the target class; ASR: their share; trig.: with the "
    "trigger; Flips: ASR among images that are recognized without the trigger; control: the same "
    f"with an encoder trained on clean data; {_COMMON}"
)


def notes_under(board: Leaderboard) -> list[str]:
    """Return the lines under a table: the protocol, the meaning of marks, sources, flags."""
    outdated = ", ".join(dict.fromkeys(row.outdated for row in board.rows if row.outdated))
    is_external = any(row.external for row in board.rows)
    parts = (
        f"protocol {board.protocol}"
        if board.protocol
        else "no protocol: the options are the benchmark file's own",
        board.rescored,
        board.folded,
        f"§ outdated: {outdated}: backbench run --refresh outdated" if outdated else "",
        "† external: weights that were not trained here" if is_external else "",
    )
    flags = dict.fromkeys(flag for row in board.rows for flag in row.flags)
    return [
        "; ".join(filter(None, parts)),
        *(
            f"[{number}] {source}: {setting}"
            for (source, setting), number in sources_of(board).items()
        ),
        *(f"{mark.strip()} imported: {origin}" for origin, mark in origins_of(board.rows).items()),
        *(f"¶ flagged: {flag}" for flag in flags),
    ]


def origins_of(rows: Iterable[Row]) -> dict[str, str]:
    """Return the mark of each imported bundle of which there are rows."""
    found = dict.fromkeys(row.origin for row in rows if row.origin)
    return {origin: f" ‡{number}" for number, origin in enumerate(found, start=1)}


def sources_of(board: Leaderboard) -> dict[tuple[str, str], int]:
    """Number the sources of reported figures, in the order of the rows."""
    found = ((one.source, one.setting) for row in board.rows for one in row.reported.values())
    return {note: number for number, note in enumerate(dict.fromkeys(found), start=1)}


def reported_text(row: Row, column: Column, notes: Mapping[tuple[str, str], int]) -> str:
    """Format a figure that others have published: ``.576 [1]``; empty if there is none."""
    figure = row.reported.get(column.metric)
    if figure is None:
        return ""
    return f"{number(figure.value, column.decimals)} [{notes[figure.source, figure.setting]}]"


def _print_tables(board: Leaderboard, by: str | None, console: Console) -> None:
    """Print a table for each group; a narrow terminal gets each in parts."""
    for title, part in group(board, by):
        grid = _grid(title, part, by)
        narrow = not fits(grid, console)
        print_grid(_stacked_grid(grid, part) if narrow else grid, console)
        if narrow:
            console.print(Text(f"{_NARROW_NOTE}\n", "dim"))
        under = printable("\n".join(notes_under(part)))
        console.print(Text(f"{under}\n", "dim"), soft_wrap=not console.is_terminal)
    console.print(Text(legend_of(board), "dim"), soft_wrap=not console.is_terminal)


def legend_of(board: Leaderboard) -> str:
    """Return the meaning of columns and marks."""
    return f"{board.legend}; {_COMMON}" if board.legend else NOTE


def _grid(title: str, board: Leaderboard, by: str | None) -> Grid:
    fields = fields_of(board, by)
    counts = {seeds_of(row) for row in board.rows}
    same = f"n = {counts.pop()}" if len(counts) == 1 else ""
    columns, marks = columns_of(board), extremes(board)
    notes, origins = sources_of(board), origins_of(board.rows)
    lines = []
    for index, row in enumerate(board.rows):
        names = [name_of(row, name, origins) for name in fields]
        numbers: list[Number] = []
        for column, beside in columns:
            value = row.values.get(column.metric)
            numbers.append(_stacked(value, column, *_mark(column, index, marks)))
            if "control" in beside:
                numbers.append(_stacked(row.controls.get(column.metric), column))
            if "reported" in beside:
                numbers.append(Number(reported_text(row, column, notes)))
        lines.append((names if same else [*names, seeds_of(row)], numbers))
    methods = [row.names["method"] for row in board.rows]
    ends = [at for at, (one, two) in enumerate(itertools.pairwise(methods)) if one != two]
    apart = len(ends) + 1 == len(set(methods))  # not where rows have been sorted by something else
    return Grid(
        title=" · ".join(filter(None, (board.benchmark, title, same))),
        names=[*(name.capitalize() for name in fields), *([] if same else ["n"])],
        groups=[[column.title, *beside] for column, beside in columns],
        lines=lines,
        after=ends if apart else (),
        dim=("control", "reported"),
    )


def _stacked_grid(grid: Grid, board: Leaderboard) -> Grid:
    """Return the grid of a narrow terminal: names, and a value and its control, in one column."""
    notes, marks = sources_of(board), extremes(board)
    lines = []
    for index, (row, line) in enumerate(zip(board.rows, grid.lines, strict=True)):
        own = [name for at, name in enumerate(line[0]) if at == 0 or name != NONE]
        numbers = []
        for column, beside in columns_of(board):
            value = row.values.get(column.metric)
            sign, style = _mark(column, index, marks)
            below = [_range(value, column)]
            if "control" in beside and (control := row.controls.get(column.metric)):
                below.append(f"c {number(control.mean, column.decimals)}")
            if "reported" in beside and (found := reported_text(row, column, notes)):
                below.append(f"r {found}")
            text = "–" if value is None else f"{number(value.mean, column.decimals)}{sign}"
            numbers.append(Number(text, style, "\n".join(filter(None, below))))
        lines.append((["\n".join(own)], numbers))
    return replace(
        grid,
        names=["\n".join(grid.names)],
        groups=[[column.title] for column, _ in columns_of(board)],
        lines=lines,
        after=range(len(lines)),
        dim=(),
    )


#: Note below the table of a narrow terminal.
_NARROW_NOTE = (
    "below a mean: its 95 % interval, then c, its control, and r, a reported figure; a wider "
    "terminal has deviations and intervals of controls, too"
)


def _range(summary: Summary | None, column: Column) -> str:
    """Format an interval in few columns: ``.931–.949`` or ``-.03 to .02``; empty without one."""
    if summary is None or summary.ci95 is None:
        return ""
    low, high = (number(end, column.decimals) for end in summary.ci95)
    between = " to " if low.startswith("-") else "–"
    return f"{low}{between}{high}{'~' * (summary.over == 'seeds')}"


def _stacked(summary: Summary | None, column: Column, sign: str = "", style: str = "") -> Number:
    """Return mean and spread with the interval below; a sign is to their right."""
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


def name_of(row: Row, field: str, origins: Mapping[str, str]) -> str:
    """Return a name of a row; the method's has the marks of the row."""
    if field != "method":
        return row.names[field]
    marks = " †" * row.external + " §" * bool(row.outdated) + " ¶" * bool(row.flags)
    return row.names[field] + marks + origins.get(row.origin, "")


def seeds_of(row: Row) -> str:
    """Return the number of seeds of a row, with its marks."""
    done = len(row.seeds)
    marks = "*" * (0 < done < FEW)
    marks += "°" * bool(row.uncontrolled or row.undetected) + "✗" * bool(row.problem)
    return f"{count(done, row.planned)} {marks}".rstrip()


def fields_of(board: Leaderboard, by: str | None) -> list[str]:
    """Return the fields worth a column: not the group, not a dataset that is the only one.

    The method is worth one where some row has marks, which are shown there.
    """
    datasets = {row.names["dataset"] for row in board.rows}
    fields = [name for name in _axes(board) if name != "dataset" or len(datasets) > 1]
    return [name for name in fields if name != by or (name == "method" and has_marks(board))]


def has_marks(board: Leaderboard) -> bool:
    """Return whether some row has a mark beside the name of its method."""
    origins = origins_of(board.rows)
    return any(name_of(row, "method", origins) != row.names["method"] for row in board.rows)


def _axes(board: Leaderboard) -> list[Axis]:
    """Return the axes of a table for readers: the downstream dataset where some row has it."""
    somewhere = any(row.names[Axis.DOWNSTREAM] != NONE for row in board.rows)
    return [axis for axis in Axis if axis is not Axis.DOWNSTREAM or somewhere]


def columns_of(board: Leaderboard) -> list[tuple[Column, list[str]]]:
    """Return the columns in which some row has a number, and the headings of those next to each."""
    found = []
    for column in board.columns:
        if any(column.metric in row.values for row in board.rows):
            reported = any(column.metric in row.reported for row in board.rows)
            found.append((column, ["control"] * column.control + ["reported"] * reported))
    return found


def _plain(
    board: Leaderboard, form: Callable[[Summary | None, int], str]
) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the lines of a table; ``form`` formats a number of it."""
    columns, notes, origins = columns_of(board), sources_of(board), origins_of(board.rows)
    axes = _axes(board)
    header = [*axes, "n"]
    for column, beside in columns:
        header += [column.title, *(f"{column.title} {heading}" for heading in beside)]
    body = []
    for row in board.rows:
        line = [*(name_of(row, name, origins) for name in axes), seeds_of(row)]
        for column, beside in columns:
            line.append(form(row.values.get(column.metric), column.decimals))
            if "control" in beside:
                line.append(form(row.controls.get(column.metric), column.decimals))
            if "reported" in beside:
                line.append(reported_text(row, column, notes) or "–")
        body.append(line)
    return header, body


def _tabulated(header: Sequence[str], body: Sequence[Sequence[str]], style: str) -> str:
    names = sum(name in list(Axis) for name in header)
    return tabulated(header, body, style, len(header) - names)


def markdown(board: Leaderboard) -> str:
    """Return a Markdown table for each protocol."""
    parts = []
    for _, part in group(board, None):
        parts += [
            _tabulated(*_plain(part, whole), "markdown"),
            *map(markdown_text, notes_under(part)),
        ]
    return "\n\n".join([*parts, legend_of(board)])


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
        table = re.sub(r"(\[\S+, \S+\](?:\\textasciitilde\{\})?)", r"{\\scriptsize \1}", table)
        under = filter(None, (*notes_under(part), board.legend, INTERVAL_NOTE))
        notes = [latex_text(note) for note in under]
        counted = [_COUNT_NOTE] * any(not seeds_of(row)[-1].isdigit() for row in part.rows)
        parts.append("\n\\par ".join([table, *notes, *counted]))
    return latex_symbols("\n\n".join(parts))


def html(board: Leaderboard) -> str:
    """Return an HTML table for each protocol, to be put into a page."""
    parts = []
    for _, part in group(board, None):
        header, body = _plain(part, lambda one, decimals: whole(one, decimals, "\n"))
        parts.append(_tabulated(header, body, "html"))
        parts += [f"<p>{html_text(note)}</p>" for note in notes_under(part)]
    return "\n".join([*parts, f"<p>{html_text(legend_of(board))}</p>"])


def comma_separated(board: Leaderboard) -> str:
    """Return CSV: one line a row, mean, standard deviation and interval of every metric."""
    metrics = sorted({metric for row in board.rows for metric in row.values})
    header = ["protocol", *Axis, "external", "origin", "n", "planned", "complete"]
    rankings = ranks(board)
    for metric in metrics:
        for kind in _kinds(metric):
            header += [f"{metric}{kind}:{part}" for part in EXACT]
        header += [f"{metric}:rank"] * (metric in rankings)
    reported = sorted({metric for row in board.rows for metric in row.reported})
    for metric in reported:
        header += [f"{metric}:reported", f"{metric}:reported:source"]
    header += ["rescored"] * bool(board.rescored)
    some_outdated = any(row.outdated for row in board.rows)
    some_flagged = any(row.flags for row in board.rows)
    header += ["outdated"] * some_outdated + ["flags"] * some_flagged
    lines: list[list[Any]] = [header]
    for index, row in enumerate(board.rows):
        names = (row.names[name] for name in Axis)
        external, complete = ("yes" if one else "no" for one in (row.external, row.complete))
        line: list[Any] = [row.protocol, *names, external, row.origin]
        line += [len(row.seeds), row.planned, complete]
        for metric in metrics:
            for kind in _kinds(metric):
                line += exact(getattr(row, _KINDS[kind]).get(metric))
            line += [rankings[metric].get(index, "")] if metric in rankings else []
        for metric in reported:
            figure = row.reported.get(metric)
            line += [figure.value, f"{figure.source}: {figure.setting}"] if figure else ["", ""]
        line += [board.rescored] * bool(board.rescored)
        line += [row.outdated] * some_outdated
        line += ["\n".join(map(str, row.flags))] * some_flagged
        lines.append(line)
    return csv_text(lines).rstrip("\n")


#: Keys of a row for a metric's own numbers, those of its control and those of the lift.
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
            **({"undetected": row.undetected} if row.undetected else {}),
            "metrics": _each_as_dict(row.values),
            "controls": _each_as_dict(row.controls),
            "lifts": _each_as_dict(row.lifts),
            "ranks": {name: found[index] for name, found in rankings.items() if index in found},
            "reported": _each_as_dict(row.reported),
            "problem": row.problem,
            **({"threat": row.threat} if row.threat else {}),
            **({"outdated": row.outdated} if row.outdated else {}),
            **({"flags": [flag._asdict() for flag in row.flags]} if row.flags else {}),
        }
        for index, row in enumerate(board.rows)
    ]
    content: dict[str, Any] = {"benchmark": board.benchmark, "protocol": board.protocol}
    content |= {"rescored": board.rescored} if board.rescored else {}
    content |= {"folded": board.folded} if board.folded else {}
    content["interval"] = INTERVAL_NOTE
    # A row is a line: only without an indent does json use its fast encoder.
    head = to_json(content, indent=2).removesuffix("\n}")
    lines = ",\n".join(f"    {to_json(row)}" for row in rows)
    return f'{head},\n  "rows": [\n{lines}\n  ]\n}}'


def _each_as_dict(found: Mapping[str, Summary] | Mapping[str, Reported]) -> dict[str, Any]:
    # The records are flat: ``asdict`` would copy each value deeply.
    return {
        name: {field.name: getattr(value, field.name) for field in fields(value)}
        for name, value in found.items()
    }


def print_board(board: Leaderboard, style: str, by: str | None, console: Console) -> None:
    """Print a leaderboard in one of :data:`FORMATS`; a field splits a table into several."""
    if style == "table":
        _print_tables(board, by, console)
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
