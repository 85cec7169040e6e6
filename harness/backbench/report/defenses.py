"""Tables of what defenses find, cost and give away. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from backbench.model import NONE, Axis, Cell, Plan, Stage, StageKind
from backbench.plugin import Column
from backbench.report.numbers import INTERVAL_NOTE
from backbench.report.sheet import Line, Sheet, remarks_of
from backbench.results.leaderboard import Leaderboard, Row
from backbench.results.statistics import Bounds, on_seeds, paired, summarize
from backbench.store.metadata import EncoderRecord, InspectRecord, RepairRecord, SanitizeRecord
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
    "wraps; of a chain, of all its defenses; Peak: highest memory of a worker meanwhile; Clean "
    "needed: share of the training set that was asked for as clean; "
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
    "each defended row beside the undefended row, on the n seeds that have all numbers of the "
    "line; removed and gained: good if high; lost: good if low; lift: value less control; "
    f"{INTERVAL_NOTE}"
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


def _numbers(cell: Cell, plan: Plan, record_of: Callable[[str], Record | None]) -> dict[str, float]:
    """Return what the cell's defenses found, and, once all of them have acted, what they cost."""
    numbers: dict[str, float] = {}
    acting = {key: record_of(key) for key in cell.path if _acts(plan.stages[key])}
    acts = {key: record for key, record in acting.items() if record is not None}
    for record in acts.values():
        if isinstance(record.metadata, SanitizeRecord):
            numbers |= record.metadata.detection
    if acts and len(acts) == len(acting):
        numbers["cost/seconds"] = sum(record.wall_s for record in acts.values())
        numbers["cost/cpu_seconds"] = sum(record.cpu_s for record in acts.values())
        numbers["cost/peak_gib"] = max(record.peak_mem_gib for record in acts.values())
        numbers["cost/clean_fraction"] = _clean_needed(plan, acts)
        trained = next((record_of(key) for key in cell.path if _retrains(plan.stages[key])), None)
        if trained is not None:
            numbers["cost/retraining_seconds"] = trained.wall_s
    return numbers


def _acts(stage: Stage) -> bool:
    """Return whether a defense acts in a stage; the training after one that drops images is apart.

    An inspection is on a cell's path only if the defense then mends the encoder by it.
    """
    kinds = {StageKind.SANITIZE, StageKind.INSPECT, StageKind.REPAIR}
    return stage.kind in kinds or (stage.guard is not None and not _retrains(stage))


def _retrains(stage: Stage) -> bool:
    """Return whether a training follows a defense that drops images.

    Another training on the path is that of the clean encoder which an attack reads.
    """
    return stage.kind is StageKind.PRETRAIN and "sanitize" in stage.inputs


def _clean_needed(plan: Plan, acts: Mapping[str, Record]) -> float:
    """Return the share of the training set that the defenses of a cell need as clean.

    All stages of a seed draw clean images in one order, so that the largest share serves all. But
    those that see the poison draw from the images that it leaves alone, in another order: their
    largest share comes on top.
    """
    most: dict[bool, float] = {}
    for key, record in acts.items():
        made = record.metadata
        if isinstance(made, SanitizeRecord | InspectRecord | RepairRecord | EncoderRecord):
            sees_poison = "poison" in plan.stages[key].inputs
            most[sees_poison] = max(made.clean_fraction, most.get(sees_poison, 0.0))
    return min(1.0, sum(most.values()))


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
            by_seed = _trades(row, bare)
            lines.append(_line(dict(zip(fields, names, strict=True)), by_seed))
    title = f"{board.benchmark} · trade-off"
    found = tuple(line for line in lines if line.seeds)
    nothing = "no defense beside none"
    return Sheet(title, fields, TRADES, found, TRADE_NOTE, nothing, remarks_of(board))


def _trades(row: Row, bare: Row) -> dict[int, dict[str, float]]:
    """Return what a defense gave and took, by seed, on the seeds that have all of it."""
    after, before = row.samples, bare.samples
    pairs = (
        ("trade/accuracy_lost", "accuracy/clean", before, after),
        ("trade/asr_removed", "asr", before, after),
        ("trade/triggered_gained", "accuracy/triggered", after, before),
    )
    found = {
        name: paired(one[metric], other[metric])
        for name, metric, one, other in pairs
        if metric in one and metric in other
    }
    left = (("trade/asr_left", "asr"), ("trade/asr_lift_left", "asr_lift"))
    found |= {name: after[metric] for name, metric in left if metric in after}
    both = set(row.seeds).intersection(bare.seeds)
    found = {name: one for name, one in found.items() if both.intersection(one.seeds)}
    seeds = sorted(both.intersection(*(one.seeds for one in found.values())))
    values = {name: on_seeds(one, seeds).values for name, one in found.items()}
    return {seed: {name: values[name][at] for name in values} for at, seed in enumerate(seeds)}


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
