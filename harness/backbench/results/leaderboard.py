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
from backbench.results.plugin_reports import ReportOf
from backbench.results.reader import Measured, MeasuredOf
from backbench.results.statistics import Bounds, Sample, Summary, paired, sample_of, summarize_all
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

#: The columns that every leaderboard has.
COLUMNS = (
    Column("accuracy/clean", "Acc", best="high"),
    Column("accuracy/triggered", "Acc trig.", best="high", control=True),
    Column("target_fp/clean", "FP", best="low", decimals=0),
    Column("target_fp/triggered", "FP trig.", best="low", decimals=0, control=True),
    Column("asr", "ASR", best="low", control=True),
)

#: Metrics that are the lift of another metric: its value less its control, paired by seed.
LIFTS = {
    "asr_lift": "asr",
    "fp_lift": "target_fp/triggered",
    "detector/auroc_lift": "detector/auroc",
    "detector/auprc_lift": "detector/auprc",
}


@dataclass(frozen=True, slots=True)
class Reported:
    """A figure, a fraction in [0, 1] or a count, that others have published of what a row measures.

    Its ``setting`` is how it was made, and what is known to differ from ours.
    """

    value: float
    source: str
    setting: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the leaderboard: a cell of the matrix, or one variant of it, over its seeds.

    Args:
        names: Instance names, by field; the evaluator of a variant's row is ``knn:k=1``.
        seeds: Seeds that have a number.
        planned: Number of seeds in the benchmark.
        values: Metrics over seeds, those of ``LIFTS`` among them.
        controls: The same metrics of the clean encoder under the same trigger.
        lifts: Value less control, paired by seed.
        problem: Why a seed, or its control, is missing, if a stage failed.
        protocol: Id of the protocol card that the row follows; empty without one. Rows are
            ranked among those of the same card only.
        external: The weights were not trained here: what they have seen is not known.
        reported: Figures published elsewhere, by metric: shown beside ours, never ranked and in no
            mean.
        origin: The imported bundle that the row is of; empty for our own.
        outdated: What has changed since the numbers were made, if an older revision of a plugin
            made them; such a row is not ranked.
        uncontrolled: Number of seeds of an attacked row that have no control.
        undetected: Number of seeds for which a detector's scores are missing, its control's
            included.
        detector_reports: Names of the metrics that the detectors of its cells reported themselves.
        threat: The threat model of the attack, by :func:`~backbench.results.threat.threat_model`;
            empty without an attack, or before it has run.
        flags: What the sanity checks report of stages that the row, or its control, is made of.
        samples: The metrics seed by seed and image by image.
        control_samples: The same of the controls.
    """

    names: Mapping[str, str]
    seeds: tuple[int, ...]
    planned: int
    values: Mapping[str, Summary]
    controls: Mapping[str, Summary]
    lifts: Mapping[str, Summary]
    problem: str = ""
    protocol: str = ""
    external: bool = False
    reported: Mapping[str, Reported] = field(default_factory=dict)
    origin: str = ""
    outdated: str = ""
    uncontrolled: int = 0
    undetected: int = 0
    detector_reports: tuple[str, ...] = ()
    threat: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[Raised, ...] = ()
    samples: Mapping[str, Sample] = field(default_factory=dict, repr=False, compare=False)
    control_samples: Mapping[str, Sample] = field(default_factory=dict, repr=False, compare=False)

    @property
    def complete(self) -> bool:
        """Return whether every seed has its number, its control and its detectors' scores."""
        missing = self.uncontrolled or self.undetected
        return len(self.seeds) == self.planned and not missing

    @property
    def ranked(self) -> bool:
        """Return whether it may be ranked: complete, our own, and of the present revisions."""
        return self.complete and not self.outdated and not self.origin


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Rows and the columns to show.

    ``protocol`` is the id of the benchmark's protocol card, or empty; where rows of several
    benchmarks are put together, each row's own counts. ``rescored`` is what was counted otherwise
    than the protocol states, ``folded`` what was put together in a row, and how; empty if nothing
    was. ``legend`` is the meaning of the columns, where they are not the usual columns.
    """

    benchmark: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    protocol: str = ""
    rescored: str = ""
    folded: str = ""
    legend: str = ""


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
    imported = {key for key, one in plan.stages.items() if one.kind is StageKind.IMPORT}
    rows = tuple(
        replace(
            _row(
                cells,
                variant,
                plan,
                one_of,
                failure_of,
                measured_of=measured_of,
                detected_of=detected_of,
                reported_of=reported_of,
                bounds=bounds,
            ),
            external=any(not imported.isdisjoint(cell.path) for cell in cells),
        )
        for names, cells in groups.items()
        for one_of in [_records(cells, record_of, older_of)]
        for variant in _variants(cells, one_of) or variants.get(names[-1]) or ("",)
    )
    return Leaderboard(plan.benchmark, (*COLUMNS, *extra), rows, plan.protocol)


def _records(cells: Sequence[Cell], record_of: _RecordOf, older_of: _RecordOf | None) -> _RecordOf:
    """Return what gives a row's records: the current records if any, else the outdated ones."""
    if older_of is None or any(record_of(cell.evaluation) for cell in cells):
        return record_of
    return older_of


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


def _row(
    cells: Sequence[Cell],
    variant: str,
    plan: Plan,
    record_of: _RecordOf,
    failure_of: _FailureOf,
    *,
    measured_of: MeasuredOf,
    detected_of: DetectedOf,
    reported_of: ReportOf,
    bounds: Mapping[str, Bounds],
) -> Row:
    names = cells[0].name.row
    if variant:
        names["evaluator"] += f":{variant}"
    values: _BySeed = {}
    controls: _BySeed = {}
    seeds = []
    flags: list[Raised] = []
    uncontrolled = undetected = 0
    problem = outdated = ""
    named: dict[str, None] = {}
    for cell in sorted(cells, key=lambda cell: cell.name.seed):
        record = record_of(cell.evaluation)
        own = measured_of(record.key, variant) if record is not None else None
        if record is None or own is None:
            problem = problem or _problem(plan.stages, cell.evaluation, failure_of, record)
            continue
        seed = cell.name.seed
        seeds.append(seed)
        flags += record.flags
        outdated = outdated or record.outdated
        detections = _detections(cell, plan.stages)
        found = {one.key: detected_of(one.key, cell.evaluation, variant) for one in detections}
        beside = {
            one.control: detected_of(one.control, cell.control, variant)
            for one in detections
            if one.control and cell.control
        }
        missing = [key for key, scored in (found | beside).items() if scored is None]
        undetected += bool(missing)
        for key in missing:
            problem = problem or _problem(plan.stages, key, failure_of, record_of(key))
        for one in detections:
            named |= dict.fromkeys(reported_of(one.key))
        own = _joined(own, *found.values(), *(reported_of(one.key) for one in cell.detections))
        for metric, value in own.items():
            values.setdefault(metric, {})[seed] = value
        control = record_of(cell.control) if cell.control else None
        theirs = measured_of(control.key, variant) if control is not None else None
        if control is not None and theirs is not None:
            flags += control.flags
            others = [one.control for one in cell.detections if one.control]
            theirs = _joined(theirs, *beside.values(), *map(reported_of, others))
            for metric in filter(own.__contains__, theirs):
                controls.setdefault(metric, {})[seed] = theirs[metric]
            continue
        uncontrolled += cell.name.attack != NONE
        if cell.control:
            problem = problem or _problem(plan.stages, cell.control, failure_of, control)
    samples, beside_them = (
        {metric: sample_of(by_seed, bounds.get(metric)) for metric, by_seed in found.items()}
        for found in (values, controls)
    )
    lifts = {metric: paired(samples[metric], beside_them[metric]) for metric in beside_them}
    samples |= {name: lifts[metric] for name, metric in LIFTS.items() if metric in lifts}
    return Row(
        names=names,
        seeds=tuple(seeds),
        planned=len(cells),
        values=summarize_all(samples),
        controls=summarize_all(beside_them),
        lifts=summarize_all(lifts),
        problem=problem,
        protocol=plan.protocol,
        outdated=outdated,
        uncontrolled=uncontrolled,
        undetected=undetected,
        detector_reports=tuple(named),
        threat=_threat(cells, plan, record_of),
        flags=tuple(dict.fromkeys(flags)),
        samples=samples,
        control_samples=beside_them,
    )


def _detections(cell: Cell, stages: Mapping[str, Stage]) -> list[Detection]:
    """Return the stages by which a cell's defenses score images at test time."""
    return [one for one in cell.detections if stages[one.key].kind is StageKind.DETECT]


def _joined(measured: Measured, *found: Measured | None) -> Measured:
    """Add the numbers of detectors and inspections to the metrics of an evaluation."""
    joined = dict(measured)
    for one in found:
        joined.update(one or {})
    return joined


def _threat(cells: Sequence[Cell], plan: Plan, record_of: _RecordOf) -> dict[str, Any]:
    """Return the threat model of a row's attack, as the first of its cells has it."""
    first = min(cells, key=lambda cell: cell.name.seed)
    if first.name.attack == NONE:
        return {}
    return threat_of(first.path, plan, record_of)


def _problem(
    stages: Mapping[str, Stage], key: str, failure_of: _FailureOf, record: Record | None = None
) -> str:
    """Return which of the stages that lead to a stage failed, and why; empty if none did."""
    if record is not None:
        remedy = f"`backbench run --redo {record.key}` makes them again"
        what = "scores" if record.stage.kind is StageKind.DETECT else "predictions"
        return f"{record.label}: its {what} are missing or damaged: {remedy}"
    failure = failure_of(key)
    if failure is not None:
        return f"{failure.get('label') or stages[key].label}: {failure['reason']}"
    read = stages[key].inputs.values() if key in stages else ()
    return next(filter(None, (_problem(stages, one, failure_of) for one in read)), "")
