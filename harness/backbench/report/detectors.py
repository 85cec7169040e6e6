"""Tables of what defenses find, cost and give away. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.text import Text

from backbench.errors import UsageError
from backbench.model import NONE, Axis, Cell, Plan, StageKind
from backbench.plugin import Column
from backbench.report.grid import (
    EXACT,
    INTERVAL_NOTE,
    Grid,
    Number,
    exact,
    interval,
    latex_symbols,
    print_grid,
    spread,
    tabulated,
    whole,
)
from backbench.results.leaderboard import Leaderboard, Row
from backbench.results.statistics import Bounds, Summary, summarize
from backbench.store.metadata import EncoderRecord, RepairRecord, SanitizeRecord
from backbench.store.records import Record
from backbench.system.escaping import csv_text, html_text
from backbench.system.json_text import to_json

#: Columns that name a line of the table of detection.
FIELDS = tuple(axis.value for axis in Axis if axis not in {Axis.EVALUATOR, Axis.DOWNSTREAM})

#: Columns of detection, and of what a defense costs; in ``json`` and ``csv`` there is more.
DETECTION = (
    Column("detection/auroc", "AUROC"),
    Column("detection/average_precision", "AP"),
    Column("detection/precision_at_20", "P@20"),
    Column("detection/precision_at_poisons", "P@poisons"),
    Column("detection/recall_at_1pct_fp", "Recall 1 % FP"),
    Column("detection/recall", "Recall"),
    Column("detection/precision", "Precision"),
    Column("detection/dropped", "Dropped", decimals=0),
    Column("detection/clean_lost", "Clean lost", decimals=0),
)
COST = (
    Column("cost/seconds", "Seconds", decimals=0),
    Column("cost/cpu_seconds", "CPU s", decimals=0),
    Column("cost/retraining_seconds", "Retrain s", decimals=0),
    Column("cost/peak_gib", "Peak GiB", decimals=2),
    Column("cost/clean_fraction", "Clean needed"),
)
DETECTION_NOTE = (
    "detection: scores of the training images against the poison's manifest; AP: average "
    "precision; P@k: precision among the k highest, ties in random order; Recall 1 % FP: recall "
    "where 1 % of the clean images are accused; Recall, Precision: of what was dropped. Seconds: "
    "wall clock of the defense, without the training that follows, or of the training that it "
    "wraps; Peak: highest memory of its worker meanwhile; Clean needed: share of the training set "
    "that it asked for as clean; "
    f"{INTERVAL_NOTE}"
)

#: Columns of the table of detection that count images.
_COUNTED = ("detection/dropped", "detection/clean_lost")

#: Columns of the table of trade-offs; each is paired with the undefended row by seed.
TRADES = (
    Column("trade/accuracy_lost", "Acc lost"),
    Column("trade/asr_removed", "ASR removed"),
    Column("trade/triggered_gained", "Acc trig. gained"),
    Column("trade/asr_left", "ASR left"),
    Column("trade/asr_lift_left", "ASR lift left"),
)
TRADE_NOTE = (
    "each defended row beside the undefended row of the same seeds; removed and gained: good if "
    f"high; lost: good if low; lift: value less control; {INTERVAL_NOTE}"
)


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


def detection_sheet(plan: Plan, record_of: Callable[[str], Record | None]) -> Sheet:
    """Collect what the defenses of a plan found and cost."""
    found: dict[tuple[str, ...], dict[int, dict[str, float]]] = {}
    for cell in plan.cells:
        names = tuple(str(getattr(cell.name, field)) for field in FIELDS)
        if cell.name.defense != NONE and (numbers := _numbers(cell, plan, record_of)):
            found.setdefault(names, {})[cell.name.seed] = numbers
    lines = tuple(
        _line(dict(zip(FIELDS, names, strict=True)), by_seed) for names, by_seed in found.items()
    )
    title = f"{plan.benchmark} · detection"
    nothing = "no defense has run yet"
    return Sheet(title, FIELDS, (*DETECTION, *COST), lines, DETECTION_NOTE, nothing)


def _numbers(
    cell: Cell, plan: Plan, record_of: Callable[[str], Record | None]
) -> dict[str, float] | None:
    """Return what the cell's defense found and cost; ``None`` if it has not run."""
    path = [(plan.stages[key].kind, record_of(key)) for key in cell.path]
    acts = next((one for kind, one in path if kind in {StageKind.SANITIZE, StageKind.REPAIR}), None)
    if acts is None:
        acts = next((record_of(key) for key in cell.path if plan.stages[key].guard), None)
    if acts is None:
        return None
    numbers = {"cost/seconds": acts.wall_s, "cost/cpu_seconds": acts.cpu_s}
    numbers["cost/peak_gib"] = acts.peak_mem_gib
    if isinstance(acts.metadata, SanitizeRecord):
        numbers |= acts.metadata.detection
    if isinstance(acts.metadata, SanitizeRecord | RepairRecord | EncoderRecord):
        numbers["cost/clean_fraction"] = acts.metadata.clean_fraction
    trained = [one for kind, one in path if kind is StageKind.PRETRAIN]
    if len(trained) > 1 and trained[-1] is not None:
        numbers["cost/retraining_seconds"] = trained[-1].wall_s
    return numbers


def trade_off_sheet(board: Leaderboard) -> Sheet:
    """Compare every defended row of a leaderboard with the undefended row."""
    somewhere = any(row.names.get("downstream", NONE) != NONE for row in board.rows)
    fields = (
        "dataset",
        *(["downstream"] if somewhere else []),
        *("method", "attack", "evaluator", "defense"),
    )
    rows = {(*(row.names[name] for name in fields), row.protocol): row for row in board.rows}
    lines = []
    for (*names, protocol), row in rows.items():
        bare = rows.get((*names[:-1], NONE, protocol))
        if names[-1] != NONE and bare is not None:
            by_seed = {seed: dict(_trades(row, bare, seed)) for seed in row.seeds}
            lines.append(_line(dict(zip(fields, names, strict=True)), by_seed))
    title = f"{board.benchmark} · trade-off"
    found = tuple(line for line in lines if line.seeds)
    return Sheet(title, fields, TRADES, found, TRADE_NOTE, "no defense beside none")


def _trades(row: Row, bare: Row, seed: int) -> Iterator[tuple[str, float]]:
    """Yield what one seed's defense gave and took."""
    for name, metric, sign in (
        ("trade/accuracy_lost", "accuracy/clean", -1),
        ("trade/asr_removed", "asr", -1),
        ("trade/triggered_gained", "accuracy/triggered", 1),
    ):
        after, before = (_of_seed(one, one.values, metric, seed) for one in (row, bare))
        if after is not None and before is not None:
            yield name, sign * (after - before)
    for name, source in (("trade/asr_left", row.values), ("trade/asr_lift_left", row.lifts)):
        left = _of_seed(row, source, "asr", seed)
        if left is not None:
            yield name, left


def _of_seed(row: Row, source: Mapping[str, Summary], metric: str, seed: int) -> float | None:
    """Return one seed's value; ``None`` if its value cannot be identified."""
    summary = source.get(metric)
    if summary is None or seed not in row.seeds or summary.n != len(row.seeds):
        return None
    return summary.values[row.seeds.index(seed)]


def _line(names: Mapping[str, str], by_seed: Mapping[int, Mapping[str, float]]) -> Line:
    seeds = tuple(sorted(seed for seed, numbers in by_seed.items() if numbers))
    values: dict[str, list[float]] = {}
    for seed in seeds:
        for name, value in by_seed[seed].items():
            values.setdefault(name, []).append(value)
    found = {name: summarize(numbers, _bounds(name)) for name, numbers in values.items()}
    return Line(names, seeds, found)


def _bounds(name: str) -> Bounds | None:
    """Return what a number cannot leave; ``None`` for a difference."""
    if name.startswith("trade/"):
        return (0.0, 1.0) if name == "trade/asr_left" else None
    if name in _COUNTED or (name.startswith("cost/") and name != "cost/clean_fraction"):
        return 0.0, math.inf
    return 0.0, 1.0


# -- as text -----------------------------------------------------------------------------------


def print_sheet(sheet: Sheet, style: str, console: Console | None = None) -> None:
    """Print a table as ``table``, ``json``, ``csv``, ``markdown``, ``latex`` or ``html``."""
    if not sheet.lines:
        raise UsageError(f"{sheet.title}: {sheet.nothing}")
    console = console or Console()
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
    lines, columns = [], sheet.shown
    for line in sheet.lines:
        numbers = []
        for column in columns:
            value = line.values.get(column.metric)
            text, below = (form(value, column.decimals) for form in (spread, interval))
            numbers.append(Number(text, below=below))
        lines.append((sheet.names_of(line), numbers))
    return Grid(sheet.title, sheet.names, [[column.title] for column in columns], lines)


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
