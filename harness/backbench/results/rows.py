"""From records to rows: every number with n, spread and its control."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from backbench.metrics import Outcome
from backbench.model import NONE, Cell, Detection, Plan, Stage, StageKind
from backbench.plugin import Column
from backbench.plugin.infos import OWN_METRICS
from backbench.results.detectors import DetectedOf
from backbench.results.leaderboard import COLUMNS, LIFTS, Leaderboard, Row
from backbench.results.plugin_reports import ReportOf
from backbench.results.reader import Measured, MeasuredOf
from backbench.results.statistics import Bounds, paired, sample_of, summarize_all
from backbench.results.threat import threat_of
from backbench.store.flags import Raised
from backbench.store.metadata import EvaluationRecord
from backbench.store.records import Record

#: Gives the record of a stage, or ``None``.
_RecordOf = Callable[[str], Record | None]

#: Gives why a stage failed, or ``None``.
_FailureOf = Callable[[str], Mapping[str, Any] | None]

#: Metrics, each by seed.
_BySeed = dict[str, dict[int, Outcome | float]]


@dataclass(frozen=True, slots=True)
class _Source:
    """The plan of a leaderboard, and what gives the numbers of its stages; see :func:`build`.

    ``bounds`` are those of the metrics, ``imported`` the keys of encoders from elsewhere.
    """

    plan: Plan
    record_of: _RecordOf
    failure_of: _FailureOf
    measured_of: MeasuredOf
    detected_of: DetectedOf
    reported_of: ReportOf
    bounds: Mapping[str, Bounds]
    imported: frozenset[str]

    def problem(self, key: str, record: Record | None = None) -> str:
        """Return which of the stages that lead to a stage failed, and why; empty if none did.

        A stage with a record has none of its own: its files are missing or damaged.
        """
        if record is not None:
            remedy = f"`backbench run --redo {record.key}` makes them again"
            what = "scores" if record.stage.kind is StageKind.DETECT else "predictions"
            return f"{record.label}: its {what} are missing or damaged: {remedy}"
        failure, stages = self.failure_of(key), self.plan.stages
        if failure is not None:
            return f"{failure.get('label') or stages[key].label}: {failure['reason']}"
        read = stages[key].inputs.values() if key in stages else ()
        return next(filter(None, map(self.problem, read)), "")


def build(
    plan: Plan,
    record_of: _RecordOf,
    failure_of: _FailureOf,
    extra: Iterable[Column] = (),
    *,
    measured_of: MeasuredOf,
    detected_of: DetectedOf = lambda _key, _evaluation, _variant: None,
    reported_of: ReportOf = lambda _key: {},
    older_of: _RecordOf | None = None,
) -> Leaderboard:
    """Build the leaderboard of a plan from what is in the store.

    ``detected_of`` gives the metrics of detectors, which are a row's as well, and ``reported_of``
    the numbers that detectors and inspections report.
    ``older_of`` gives the outdated record of a stage: a row has numbers of such only if no seed has
    others, since those of two revisions have no mean. ``extra`` are the columns of plugins.
    """
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in plan.cells:
        names = tuple(cell.name.row.values())
        groups.setdefault(names, []).append(cell)
    extra = tuple(extra)
    bounds = {**OWN_METRICS} | {one.metric: one.bounds for one in extra if one.bounds is not None}
    variants = _variants_by_evaluator(groups, record_of)
    imported = frozenset(key for key, one in plan.stages.items() if one.kind is StageKind.IMPORT)
    current = _Source(
        plan, record_of, failure_of, measured_of, detected_of, reported_of, bounds, imported
    )
    outdated = current if older_of is None else replace(current, record_of=older_of)
    rows: list[Row] = []
    for names, cells in groups.items():
        is_current = older_of is None or any(record_of(cell.evaluation) for cell in cells)
        source = current if is_current else outdated
        found = _variants(cells, source.record_of) or variants.get(names[-1]) or ("",)
        rows += (_row(cells, variant, source) for variant in found)
    return Leaderboard(plan.benchmark, (*COLUMNS, *extra), tuple(rows), plan.protocol)


def _variants(cells: Sequence[Cell], record_of: _RecordOf) -> tuple[str, ...]:
    """Return the variants of the cells' evaluator, as the first record has them."""
    records = filter(None, (record_of(cell.evaluation) for cell in cells))
    first = next(records, None)
    return (first.of(EvaluationRecord).variants or ("",)) if first is not None else ()


def _variants_by_evaluator(
    groups: Mapping[tuple[str, ...], Sequence[Cell]], record_of: _RecordOf
) -> dict[str, tuple[str, ...]]:
    """Return each evaluator's variants, for rows that have not run and will have the same."""
    found: dict[str, tuple[str, ...]] = {}
    for names, cells in groups.items():
        if not found.get(names[-1]):
            found[names[-1]] = _variants(cells, record_of)
    return found


def _row(cells: Sequence[Cell], variant: str, source: _Source) -> Row:
    """Return the row of a variant of cells that differ in their seeds."""
    names = cells[0].name.row
    if variant:
        names["evaluator"] += f":{variant}"
    found = _Seeds()
    for cell in sorted(cells, key=lambda cell: cell.name.seed):
        _add_seed(found, cell, variant, source)
    samples, controls = (
        {
            metric: sample_of(by_seed, source.bounds.get(metric))
            for metric, by_seed in numbers.items()
        }
        for numbers in (found.values, found.controls)
    )
    lifts = {metric: paired(samples[metric], controls[metric]) for metric in controls}
    samples |= {name: lifts[metric] for name, metric in LIFTS.items() if metric in lifts}
    return Row(
        names=names,
        seeds=tuple(found.seeds),
        planned=len(cells),
        values=summarize_all(samples),
        controls=summarize_all(controls),
        lifts=summarize_all(lifts),
        problem=found.problem,
        protocol=source.plan.protocol,
        external=any(not source.imported.isdisjoint(cell.path) for cell in cells),
        outdated=found.outdated,
        uncontrolled=found.uncontrolled,
        undetected=found.undetected,
        detector_reports=tuple(found.detector_reports),
        threat=_threat(cells, source),
        flags=tuple(dict.fromkeys(found.flags)),
        samples=samples,
        control_samples=controls,
    )


@dataclass(slots=True)
class _Seeds:
    """The numbers of a row seed by seed, and what is missing of them."""

    seeds: list[int] = field(default_factory=list)
    values: _BySeed = field(default_factory=dict)
    controls: _BySeed = field(default_factory=dict)
    flags: list[Raised] = field(default_factory=list)
    detector_reports: dict[str, None] = field(default_factory=dict)
    problem: str = ""
    outdated: str = ""
    uncontrolled: int = 0
    undetected: int = 0


def _add_seed(found: _Seeds, cell: Cell, variant: str, source: _Source) -> None:
    """Add the numbers of a cell, those of its detectors, and the same of its control."""
    record = source.record_of(cell.evaluation)
    own = source.measured_of(record.key, variant) if record is not None else None
    if record is None or own is None:
        found.problem = found.problem or source.problem(cell.evaluation, record)
        return
    seed = cell.name.seed
    found.seeds.append(seed)
    found.flags += record.flags
    found.outdated = found.outdated or record.outdated
    detections = _detections(cell, source.plan.stages)
    detected = {
        one.key: source.detected_of(one.key, cell.evaluation, variant) for one in detections
    }
    beside = {
        one.control: source.detected_of(one.control, cell.control, variant)
        for one in detections
        if one.control and cell.control
    }
    missing = [key for key, scored in (detected | beside).items() if scored is None]
    found.undetected += bool(missing)
    for key in missing:
        found.problem = found.problem or source.problem(key, source.record_of(key))
    for one in detections:
        found.detector_reports |= dict.fromkeys(source.reported_of(one.key))
    reported = (source.reported_of(one.key) for one in cell.detections)
    own = _joined(own, *detected.values(), *reported)
    for metric, value in own.items():
        found.values.setdefault(metric, {})[seed] = value
    control = source.record_of(cell.control) if cell.control else None
    theirs = source.measured_of(control.key, variant) if control is not None else None
    if control is None or theirs is None:
        found.uncontrolled += cell.name.attack != NONE
        if cell.control:
            found.problem = found.problem or source.problem(cell.control, control)
        return
    found.flags += control.flags
    others = [one.control for one in cell.detections if one.control]
    theirs = _joined(theirs, *beside.values(), *map(source.reported_of, others))
    for metric in filter(own.__contains__, theirs):
        found.controls.setdefault(metric, {})[seed] = theirs[metric]


def _detections(cell: Cell, stages: Mapping[str, Stage]) -> list[Detection]:
    """Return the stages by which a cell's defenses score images at test time."""
    return [one for one in cell.detections if stages[one.key].kind is StageKind.DETECT]


def _joined(measured: Measured, *found: Measured | None) -> Measured:
    """Add the numbers of detectors and inspections to the metrics of an evaluation."""
    joined = dict(measured)
    for one in found:
        joined.update(one or {})
    return joined


def _threat(cells: Sequence[Cell], source: _Source) -> dict[str, Any]:
    """Return the threat model of a row's attack, as the first of its cells has it."""
    first = min(cells, key=lambda cell: cell.name.seed)
    if first.name.attack == NONE:
        return {}
    return threat_of(first.path, source.plan, source.record_of)
