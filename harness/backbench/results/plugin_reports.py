"""Numbers that plugins report of stages, beside the metrics of the evaluations they lead to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache

from backbench.model import Plan, StageKind
from backbench.results.reader import Measured, MeasuredOf
from backbench.results.threat import unread_poisons
from backbench.store.records import Record
from backbench.store.store import Store

#: The field in a record's file.
_REPORT = b'"report": {'

#: Kinds of stages of which no plugin reports a number: most stages of a plan are of these.
_SILENT = frozenset(
    {StageKind.DATASET, StageKind.PRETRAIN, StageKind.IMPORT}
    | {StageKind.FEATURES, StageKind.PREDICT}
)

#: Names of numbers about poisons, as ``patch/poison_psnr``.
_OF_POISONS = re.compile("/poison_[a-z]+$")

#: Gives the numbers that were reported of a stage, as ``PLUGIN/NAME``.
ReportOf = Callable[[str], Mapping[str, float]]


def report_of(record: Record) -> dict[str, float]:
    """Return what the record of a stage reports, as ``PLUGIN/NAME``."""
    use = record.stage.plugin
    return {f"{use.name}/{name}": value for name, value in record.report.items()} if use else {}


def reports(plan: Plan, record_of: Callable[[str], Record | None]) -> ReportOf:
    """Return what gives the reported numbers of a stage, and of a detector's own training.

    Where two stages of one plugin report a number of one name, the later stage's counts.
    """

    @cache
    def read(key: str) -> Mapping[str, float]:
        stage = plan.stages.get(key)
        if stage is not None and stage.kind in _SILENT:
            return {}
        record = record_of(key)
        fitted = stage.inputs.get("detector") if stage else None
        before = read(fitted) if fitted else {}
        return {**before, **(report_of(record) if record else {})}

    return read


def with_reports(measured_of: MeasuredOf, plan: Plan, reported_of: ReportOf) -> MeasuredOf:
    """Return what gives the metrics of an evaluation and, as ``PLUGIN/NAME``, reported numbers.

    They are those of all stages that lead to the evaluation, as of :func:`reports`; of an attack
    whose poisons no training reads, those of its trigger alone.
    """

    def read(key: str, variant: str) -> Measured | None:
        measured = measured_of(key, variant)
        if measured is None or key not in plan.stages:  # outdated: its stages are not the plan's
            return measured
        found: dict[str, float] = {}
        stages = {one: plan.stages[one] for one in plan.ancestors(key)}
        unread = unread_poisons(stages)
        for one in sorted(stages, key=unread.__contains__):  # what is shown has the last word
            reported = reported_of(one)
            if one in unread:  # its trigger is shown, its poisons are in no training set
                reported = {name: n for name, n in reported.items() if not _OF_POISONS.search(name)}
            found |= reported
        return {**found, **measured} if found else measured

    return read


def reporting(store: Store) -> Callable[[str], Record | None]:
    """Return what gives the record of a stage in a store if it has a report.

    All records of a large store are asked for, and parsing takes long.
    """

    def record_of(key: str) -> Record | None:
        with suppress(OSError):  # a stage that has not run
            if _REPORT in store.record_bytes(key):
                return store.readable(key)
        return None

    return record_of
