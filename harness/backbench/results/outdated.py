"""Numbers that an older revision of a plugin made, an older protocol, an older way of counting."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from backbench.benchmark.protocols import Protocol, find_protocol, free_options
from backbench.errors import StoreError, UsageError
from backbench.metrics import METRICS_VERSION
from backbench.model import Axis, Plan, Stage, StageKind, stage_identity
from backbench.store.metadata import EvaluationRecord
from backbench.store.records import Record
from backbench.store.store import Store

_StageOf = Callable[[str], Stage | None]

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


_Index = dict[str, list[tuple[_Trace, Record]]]


class _Traces:
    """Traces of stages by key.

    Args:
        stage_of: Gives the stage of a key; ``None`` if there is none.
        reduced: Takes away what shall not count.
    """

    def __init__(
        self,
        stage_of: _StageOf,
        reduced: Callable[[Stage], Stage] = lambda stage: stage,
    ) -> None:
        self._stage_of = stage_of
        self._reduced = reduced
        self._found: dict[str, _Trace | None] = {}

    def of(self, key: str) -> _Trace | None:
        """Return a stage's trace; ``None`` if it, or one that leads to it, is not there."""
        if key not in self._found:
            self._found[key] = self._trace(key)
        return self._found[key]

    def _trace(self, key: str) -> _Trace | None:
        stage = self._stage_of(key)
        if stage is None:
            return None
        identity = stage_identity(self._reduced(stage))
        plugin = dict(identity["plugin"] or {})
        revisions = [(plugin["name"], plugin.pop("revision"))] if plugin else []
        inputs = {}
        for role, one in sorted(identity["inputs"].items()):
            trace = self.of(one)
            if trace is None:
                return None
            inputs[role] = trace.identity
            revisions += trace.revisions
        text = json.dumps({**identity, "plugin": plugin, "inputs": inputs}, sort_keys=True)
        return _Trace(hashlib.sha256(text.encode()).hexdigest(), tuple(revisions))


#: The axes of a card, by kind of plugin. A defense is free, and an evaluator is known by its name.
_AXES = {axis.kind: axis.plural for axis in (Axis.DATASET, Axis.ATTACK, Axis.METHOD)}


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What an evaluation says of the card that it follows.

    Args:
        id: ``name@version``.
        sha256: Hash of what the card fixes.
        evaluator: Name of the evaluator on the card.
    """

    id: str
    sha256: str
    evaluator: str

    def older_than(self, other: _Stamp) -> str:
        """Say that this is of an earlier version of the same card; empty if it is not."""
        (name, _, version), (others, _, later) = self.id.partition("@"), other.id.partition("@")
        if name != others or int(version) > int(later):
            return ""
        if int(version) < int(later):
            return f"protocol {self.id}, now {other.id}"
        return f"protocol {self.id}, whose card has changed" if self.sha256 != other.sha256 else ""


def _stamp(said: Mapping[str, str] | None) -> _Stamp | None:
    """Read the stamp of a protocol card; ``None`` where there is none."""
    return _Stamp(**said) if said else None


def _stamp_of(record: Record) -> _Stamp | None:
    return _stamp(record.of(EvaluationRecord).protocol)


def _cards(*ids: str) -> Iterator[Protocol]:
    """Yield those cards that this version of backbench has."""
    for one in ids:
        with suppress(UsageError):
            yield find_protocol(one)


def _without_cards(stage_of: _StageOf, cards: Sequence[Protocol]) -> Callable[[Stage], Stage]:
    """Return what takes away of a stage all that cards say something of.

    Of an evaluation are left its seed and what it is of: encoder, dataset and poison, whether it
    reads them or their features.
    """

    def reduced(stage: Stage) -> Stage:
        use = stage.plugin
        if stage.kind is StageKind.EVALUATE:
            inputs = dict(stage.inputs)
            for role in ("clean", "triggered"):
                features = stage_of(inputs.pop(role)) if role in inputs else None
                inputs |= features.inputs if features else {}
            return replace(stage, plugin=None, content="", inputs=inputs)
        if use is None or use.kind not in _AXES:
            return stage
        options = free_options(cards, _AXES[use.kind], use.name, use.identity)
        return replace(stage, plugin=replace(use, identity=options))

    return reduced


class Outdatedness:
    """Says which evaluations of a plan are outdated, and finds their numbers.

    A plugin that changes its numbers raises its revision, which is part of every key: what it made
    before is still in the store, under a key that the plan does not ask for. Where the whole
    of a stage is as planned but for lower revisions, it is what the planned one was.

    The record of an evaluation names the protocol card that it was made under. Under a later
    version of that card it is outdated, whether the card has changed its key or not: where it has,
    it is found by what neither version says anything of.

    Args:
        plan: The plan.
        store: Where records are; nothing is written to it.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._store = store
        self._index: _Index | None = None
        #: Gives a stage's record or ``None``, those that were asked for last without reading again.
        self.record = lru_cache(maxsize=_AT_HAND)(store.record)
        self._planned = _Traces(self._plan.stages.get)
        self._cards: dict[tuple[str, str], tuple[_Traces, _Index]] = {}

    def current(self, key: str) -> Record | None:
        """Return the record of an evaluation unless it is missing or outdated."""
        record = self.record(key)
        return None if record is None or self._changed(key, record) else record

    def older(self, key: str) -> Record | None:
        """Return the outdated record of an evaluation; ``outdated`` names what has changed."""
        record = self.record(key)
        if record is not None:
            changed = self._changed(key, record)
            return _marked(record, changed) if changed else None
        wanted = self._planned.of(key)
        if wanted is None:
            return None
        if self._index is None:
            self._index = self._indexed(_Traces(self._recorded), self._evaluations())
        found = _newest(self._index, wanted)
        if found is not None:
            return _marked(found[1], _revised(found[0], wanted))
        return self._of_older_card(key)

    def _of_older_card(self, key: str) -> Record | None:
        """Return the record that an earlier version of the card asked for in an evaluation's place.

        Its key is another: the card has changed options.
        """
        now = _stamp(self._plan.stages[key].given.get("protocol"))
        if now is None:
            return None
        stamps = {one for record in self._evaluations() if (one := _stamp_of(record))}
        stamps = {one for one in stamps if one.evaluator == now.evaluator and one.older_than(now)}
        for was in sorted(stamps, key=lambda one: int(one.id.partition("@")[2]), reverse=True):
            planned, index = self._without_cards(was, now)
            wanted = planned.of(key)
            found = _newest(index, wanted) if wanted else None
            if wanted and found:
                reasons = (was.older_than(now), _revised(found[0], wanted))
                return _marked(found[1], ", ".join(filter(None, reasons)))
        return None

    def _without_cards(self, was: _Stamp, now: _Stamp) -> tuple[_Traces, _Index]:
        """Return traces of the plan, and of what has a stamp, without all that cards say."""
        pair = (repr(was), now.id)
        if pair not in self._cards:
            cards = list(_cards(*dict.fromkeys((was.id, now.id))))
            made = [record for record in self._evaluations() if _stamp_of(record) == was]
            traces = _Traces(self._recorded, _without_cards(self._recorded, cards))
            stage_of = self._plan.stages.get
            planned = _Traces(stage_of, _without_cards(stage_of, cards))
            self._cards[pair] = planned, self._indexed(traces, made)
        return self._cards[pair]

    def outdated_part(self) -> Plan:
        """Return the part of the plan whose cells are outdated, and what leads to them."""
        cells = tuple(
            cell
            for cell in self._plan.cells
            if self.older(cell.evaluation) or (cell.control and self.older(cell.control))
        )
        needed: set[str] = set()
        for cell in cells:
            for key in filter(None, (cell.evaluation, cell.control)):
                needed.update(self._plan.ancestors(key))
        stages = {key: stage for key, stage in self._plan.stages.items() if key in needed}
        return replace(self._plan, stages=stages, cells=cells)

    def outdated(self) -> Iterator[str]:
        """Yield the keys of the plan's evaluations that are stored, and outdated all the same.

        Nothing that their key is made of has changed; evaluated again, they are counted, and
        stamped, as is now right. What leads to them is not.
        """
        for key, stage in self._plan.stages.items():
            record = self.record(key) if stage.kind is StageKind.EVALUATE else None
            if record is not None and self._changed(key, record):
                yield key

    def _changed(self, key: str, record: Record) -> str:
        """Say what has changed since a record of the planned key was made; empty if nothing."""
        was, now = _stamp_of(record), _stamp(self._plan.stages[key].given.get("protocol"))
        ruled = was.older_than(now) if was and now else ""
        return ", ".join(filter(None, (_counted_before(record), ruled)))

    def _recorded(self, key: str) -> Stage | None:
        """Return what a stored stage is."""
        record = self._records.get(key)
        return record.stage if record else None

    @cached_property
    def _records(self) -> Mapping[str, Record | None]:
        return {key: self._readable(key) for key in self._store.done()}

    def _evaluations(self) -> Iterator[Record]:
        for record in self._records.values():
            if record is not None and record.stage.kind is StageKind.EVALUATE:
                yield record

    def _indexed(self, traces: _Traces, records: Iterable[Record]) -> _Index:
        found: _Index = {}
        for record in records:
            trace = traces.of(record.key)
            if trace is not None:
                found.setdefault(trace.identity, []).append((trace, record))
        return found

    def _readable(self, key: str) -> Record | None:
        try:
            return self._store.record(key)
        except StoreError:
            return None


def _newest(index: _Index, wanted: _Trace) -> tuple[_Trace, Record] | None:
    """Return the newest that is as wanted but for revisions, none of them higher."""
    found = [
        (trace, record)
        for trace, record in index.get(wanted.identity, [])
        if all(was[1] <= now[1] for was, now in _pairs(trace, wanted))
    ]
    return max(found, key=lambda one: (one[0].revisions, one[1].finished)) if found else None


def _revised(trace: _Trace, wanted: _Trace) -> str:
    """Say which revisions are lower than wanted."""
    changed = dict.fromkeys(
        f"{name} revision {was}, now {now}"
        for (name, was), (_, now) in _pairs(trace, wanted)
        if was < now
    )
    return ", ".join(changed)


def _pairs(one: _Trace, other: _Trace) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    return zip(one.revisions, other.revisions, strict=True)


def _counted_before(record: Record) -> str:
    """Say that a record was counted by an older version of the metrics; empty if it was not."""
    version = record.of(EvaluationRecord).metrics_version
    return f"metrics version {version}, now {METRICS_VERSION}" if version < METRICS_VERSION else ""


def _marked(record: Record, reason: str) -> Record:
    return replace(record, outdated=reason)
