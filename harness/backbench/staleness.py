"""Numbers that an older revision of a plugin made, or an older way of counting."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from backbench.errors import StoreError
from backbench.metrics import METRICS_VERSION
from backbench.model import Plan, StageKind
from backbench.records import Record, describe
from backbench.store import Store

_Described = Mapping[str, Any]

#: Records that are kept at hand: those of a row are asked for again and again, and then no more.
_AT_HAND = 256


@dataclass(frozen=True, slots=True)
class _Trace:
    """What a stage and all that lead to it are, but for their revisions, and these.

    Args:
        identity: Hash of the first.
        revisions: Name and revision of every plugin, in one order for equal identities.
    """

    identity: str
    revisions: tuple[tuple[str, int], ...]


class _Traces:
    """Traces of stages by key.

    Args:
        described: Gives what a stage's record says that it is; ``None`` if there is no such stage.
    """

    def __init__(self, described: Callable[[str], _Described | None]) -> None:
        self._described = described
        self._found: dict[str, _Trace | None] = {}

    def of(self, key: str) -> _Trace | None:
        """Return a stage's trace; ``None`` if it, or one that leads to it, is not there."""
        if key not in self._found:
            self._found[key] = self._trace(key)
        return self._found[key]

    def _trace(self, key: str) -> _Trace | None:
        stage = self._described(key)
        if stage is None:
            return None
        plugin = dict(stage["plugin"] or {})
        revisions = [(plugin["name"], plugin.pop("revision"))] if plugin else []
        inputs = {}
        for role, one in sorted(stage["inputs"].items()):
            trace = self.of(one)
            if trace is None:
                return None
            inputs[role] = trace.identity
            revisions += trace.revisions
        text = json.dumps({**stage, "plugin": plugin, "inputs": inputs}, sort_keys=True)
        return _Trace(hashlib.sha256(text.encode()).hexdigest(), tuple(revisions))


class Staleness:
    """Says which evaluations of a plan are stale, and finds their numbers.

    A plugin that changes its numbers raises its revision, which is part of every key: what it made
    before is still in the store, under a key that the plan does not ask for. Where the whole
    of a stage is as planned but for lower revisions, it is what the planned one was.

    Args:
        plan: The plan.
        store: Where records are; nothing is written to it.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._store = store
        self._index: dict[str, list[tuple[_Trace, Record]]] | None = None
        stages = plan.stages
        #: Gives a stage's record or ``None``, those that were asked for last without reading again.
        self.record = lru_cache(maxsize=_AT_HAND)(store.record)
        self._planned = _Traces(lambda key: describe(stages[key]) if key in stages else None)

    def current(self, key: str) -> Record | None:
        """Return the record of an evaluation unless it is missing or stale."""
        record = self.record(key)
        return None if record is None or _counted_before(record) else record

    def older(self, key: str) -> Record | None:
        """Return the stale record of an evaluation; its fact ``stale`` says what has changed."""
        record = self.record(key)
        if record is not None:
            return _marked(record, _counted_before(record)) if _counted_before(record) else None
        wanted = self._planned.of(key)
        if wanted is None:
            return None
        found = [
            (trace, record)
            for trace, record in self._older_ones().get(wanted.identity, [])
            if all(was[1] <= now[1] for was, now in _pairs(trace, wanted))
        ]
        if not found:
            return None
        trace, record = max(found, key=lambda one: (one[0].revisions, one[1].finished))
        changed = dict.fromkeys(
            f"{name} revision {was}, now {now}"
            for (name, was), (_, now) in _pairs(trace, wanted)
            if was < now
        )
        return _marked(record, ", ".join(changed))

    def stale_part(self) -> Plan:
        """Return the part of the plan whose cells are stale, and what leads to them."""
        cells = tuple(
            cell
            for cell in self._plan.cells
            if self.older(cell.evaluation) or (cell.control and self.older(cell.control))
        )
        needed: set[str] = set()
        for cell in cells:
            for key in filter(None, (cell.evaluation, cell.control)):
                needed |= self._above(key)
        stages = {key: stage for key, stage in self._plan.stages.items() if key in needed}
        return replace(self._plan, stages=stages, cells=cells)

    def counted_before(self) -> Iterator[str]:
        """Yield the keys of the plan's evaluations that are stored, but were counted otherwise."""
        for key, stage in self._plan.stages.items():
            record = self.record(key) if stage.kind is StageKind.EVALUATE else None
            if record is not None and _counted_before(record):
                yield key

    def _above(self, key: str) -> set[str]:
        inputs = self._plan.stages[key].inputs.values()
        return {key}.union(*(self._above(one) for one in inputs))

    def _older_ones(self) -> Mapping[str, list[tuple[_Trace, Record]]]:
        if self._index is None:
            self._index = {}
            records = {key: self._readable(key) for key in self._store.done()}
            traces = _Traces(lambda key: found.stage if (found := records.get(key)) else None)
            for key, record in records.items():
                evaluates = record is not None and record.stage["kind"] == StageKind.EVALUATE
                trace = traces.of(key) if evaluates else None
                if record is not None and trace is not None:
                    self._index.setdefault(trace.identity, []).append((trace, record))
        return self._index

    def _readable(self, key: str) -> Record | None:
        try:
            return self._store.record(key)
        except StoreError:
            return None


def _pairs(one: _Trace, other: _Trace) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    return zip(one.revisions, other.revisions, strict=True)


def _counted_before(record: Record) -> str:
    """Say that a record was counted by an older version of the metrics; empty if it was not."""
    version = record.facts.get("metrics_version", 1)
    return f"metrics version {version}, now {METRICS_VERSION}" if version < METRICS_VERSION else ""


def _marked(record: Record, reason: str) -> Record:
    return replace(record, facts={**record.facts, "stale": reason})
