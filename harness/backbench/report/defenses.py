"""Tables of what defenses find, cost and give away. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from backbench.model import NONE, Axis, Cell, Plan, StageKind
from backbench.plugin import Column
from backbench.report.numbers import INTERVAL_NOTE
from backbench.report.sheet import Line, Sheet, remarks_of
from backbench.results.leaderboard import Leaderboard, Row
from backbench.results.statistics import Bounds, Summary, summarize
from backbench.store.metadata import EncoderRecord, RepairRecord, SanitizeRecord
from backbench.store.records import Record

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
    """Compare every comparable defended row of a leaderboard with the undefended row."""
    somewhere = any(row.names.get("downstream", NONE) != NONE for row in board.rows)
    fields = (
        "dataset",
        *(["downstream"] if somewhere else []),
        *("method", "attack", "evaluator", "defense"),
    )
    rows = {
        (*(row.names[name] for name in fields), row.protocol): row
        for row in board.rows
        if row.comparable
    }
    lines = []
    for (*names, protocol), row in rows.items():
        bare = rows.get((*names[:-1], NONE, protocol))
        if names[-1] != NONE and bare is not None:
            by_seed = {seed: dict(_trades(row, bare, seed)) for seed in row.seeds}
            lines.append(_line(dict(zip(fields, names, strict=True)), by_seed))
    title = f"{board.benchmark} · trade-off"
    found = tuple(line for line in lines if line.seeds)
    nothing = "no defense beside none"
    return Sheet(title, fields, TRADES, found, TRADE_NOTE, nothing, remarks_of(board))


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
