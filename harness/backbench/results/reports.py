"""Numbers that plugins report of stages, beside the metrics of the evaluations they lead to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache

from backbench.model import Plan
from backbench.results.reader import Measured, MeasuredOf
from backbench.store.records import Record
from backbench.store.store import Store

#: The field in a record's file.
_REPORT = b'"report": {'


def with_reports(
    measured_of: MeasuredOf, plan: Plan, record_of: Callable[[str], Record | None]
) -> MeasuredOf:
    """Return what gives the metrics of an evaluation and, as ``PLUGIN/NAME``, reported numbers.

    They are those of all stages that lead to the evaluation. Where two stages of one plugin report
    a number of one name, the later stage's counts.
    """

    @cache
    def of_stage(key: str) -> Mapping[str, float]:
        """Return what a stage reports, by plugin and name."""
        use, record = plan.stages[key].plugin, record_of(key)
        if use is None or record is None:
            return {}
        return {f"{use.name}/{name}": value for name, value in record.report.items()}

    def read(key: str, variant: str) -> Measured | None:
        measured = measured_of(key, variant)
        if measured is None or key not in plan.stages:  # outdated: its stages are not the plan's
            return measured
        found: dict[str, float] = {}
        for one in plan.ancestors(key):
            found |= of_stage(one)
        return {**found, **measured} if found else measured

    return read


def reporting(store: Store) -> Callable[[str], Record | None]:
    """Return what gives the record of a stage in a store if it has a report.

    All records of a large store are asked for, and parsing takes long.
    """

    def record_of(key: str) -> Record | None:
        with suppress(OSError):  # a stage that has not run
            if _REPORT in (store.root / "records" / f"{key}.json").read_bytes():
                return store.readable(key)
        return None

    return record_of
