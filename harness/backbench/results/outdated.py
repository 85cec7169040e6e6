"""Numbers that an older revision of a plugin made."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache

from backbench.errors import PluginError
from backbench.model import Axis, Plan, Stage, StageKind
from backbench.plugin.infos import BackboneInfo
from backbench.plugin.registry import Registry
from backbench.store.records import Record
from backbench.store.store import Store
from backbench.system.json_text import to_json

#: In a record's provenance, the code of a stage's plugins by their role: of the plugin that does
#: it, of the defense that wraps a training's method, and of their networks.
CODES = {role: f"{role}_code" for role in ("plugin", "guard", "backbone", "guard_backbone")}

#: The same in a record's file: all records of a large store are read, and parsing takes long.
_MADE_BY = {role: re.compile(rb'"%s": "([^"]*)"' % code.encode()) for role, code in CODES.items()}

#: Kinds of plugins whose code a number depends on.
_JUDGED = {*(axis.kind for axis in Axis), BackboneInfo.kind} - {Axis.DATASET.kind}

#: Records that are kept at hand: those of a row are read again and again, and then no more.
_AT_HAND = 256


@dataclass(frozen=True, slots=True)
class _Trace:
    """Hash of a stage and of all that lead to it, but for revisions; and the revisions.

    The revisions of all plugins are in one order for equal identities.
    """

    identity: str
    revisions: tuple[tuple[str, int], ...]


_Index = dict[str, list[tuple[_Trace, Record]]]


def _tracer(stage_of: Callable[[str], Stage | None]) -> Callable[[str], _Trace | None]:
    """Return what gives a stage's trace; ``None`` if it, or one that leads to it, is not there."""

    @cache
    def trace(key: str) -> _Trace | None:
        stage = stage_of(key)
        if stage is None:
            return None
        identity = stage.identity()
        plugins = {role: dict(identity.get(role) or {}) for role in CODES}
        revisions = [(one["name"], one.pop("revision")) for one in plugins.values() if one]
        inputs = {}
        for role, one in sorted(identity["inputs"].items()):
            found = trace(one)
            if found is None:
                return None
            inputs[role] = found.identity
            revisions += found.revisions
        text = to_json({**identity, **plugins, "inputs": inputs}, sort_keys=True)
        return _Trace(hashlib.sha256(text.encode()).hexdigest(), tuple(revisions))

    return trace


def changed_code(plan: Plan, store: Store, registry: Registry) -> Iterator[str]:
    """Yield a sentence on each plugin whose code is not that of its stages in the store.

    A dataset's content is in its key, whatever code it comes from.
    """

    @cache
    def code_now(kind: str, name: str) -> tuple[str, bytes]:
        registered = registry.find(kind, name)
        return str(registered), registered.code.encode()

    changed: Counter[tuple[str, str]] = Counter()
    for key in store.done() & plan.stages.keys():
        uses = {role: getattr(plan.stages[key], role) for role in CODES}
        judged = {role: use for role, use in uses.items() if use and use.kind in _JUDGED}
        text = b""
        with suppress(OSError):  # which others report
            text = store.record_bytes(key) if judged else b""
        for role, use in judged.items():
            made = _MADE_BY[role].search(text)
            with suppress(OSError, PluginError):  # likewise
                plugin, code = code_now(use.kind, use.name)
                if made and made[1] != code:
                    changed[plugin, use.name] += 1
    for (plugin, name), stages in sorted(changed.items()):
        yield (
            f"the code of {plugin} has changed since it made {stages} of the stages in the "
            f"store: if it gives other numbers now, `backbench run --redo {name}` makes them again"
        )


class Outdatedness:
    """Finds the outdated evaluations of a plan, and their numbers.

    A plugin that changes its numbers raises its revision, which is part of every key: what it made
    before is still in the store, under a key that is not in the plan. Where the whole
    of a stage is as planned but for lower revisions, it is what the planned one was.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._store = store
        #: Gives a stage's record or ``None``, those that were returned last without reading again.
        self.record = lru_cache(maxsize=_AT_HAND)(store.readable)
        self._planned = _tracer(plan.stages.get)

    def older(self, key: str) -> Record | None:
        """Return the outdated record of an evaluation; ``outdated`` names what has changed."""
        wanted = self._planned(key) if self.record(key) is None else None
        if wanted is None:
            return None
        found = _newest(self._index, wanted)
        return replace(found[1], outdated=_revised(found[0], wanted)) if found else None

    def outdated_part(self) -> Plan:
        """Return the part of the plan whose cells are outdated, and what leads to them."""
        cells = tuple(
            cell
            for cell in self._plan.cells
            if self.older(cell.evaluation) or (cell.control and self.older(cell.control))
        )
        ends = {key for cell in cells for key in (*cell.own, *cell.controls)}
        needed = {key for end in ends for key in self._plan.ancestors(end)}
        stages = {key: stage for key, stage in self._plan.stages.items() if key in needed}
        return replace(self._plan, stages=stages, cells=cells)

    @cached_property
    def _index(self) -> _Index:
        """Return the stored evaluations that can be read by the identity of their trace."""
        records: dict[str, Record] = {}
        for key in self._store.done():
            if (record := self._store.readable(key)) is not None:
                records[key] = record
        trace_of = _tracer(lambda key: records[key].stage if key in records else None)
        found = _Index()
        for key, record in records.items():
            trace = trace_of(key) if record.stage.kind is StageKind.PREDICT else None
            if trace is not None:
                found.setdefault(trace.identity, []).append((trace, record))
        return found


def _newest(index: _Index, wanted: _Trace) -> tuple[_Trace, Record] | None:
    """Return the newest that is as wanted but for revisions, none of them higher."""
    found = [
        (trace, record)
        for trace, record in index.get(wanted.identity, [])
        if all(was[1] <= now[1] for was, now in _pairs(trace, wanted))
    ]
    return max(found, key=lambda one: (one[0].revisions, one[1].finished)) if found else None


def _revised(trace: _Trace, wanted: _Trace) -> str:
    """Return which revisions are lower than wanted."""
    changed = dict.fromkeys(
        f"{name} revision {was}, now {now}"
        for (name, was), (_, now) in _pairs(trace, wanted)
        if was < now
    )
    return ", ".join(changed)


def _pairs(one: _Trace, other: _Trace) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    return zip(one.revisions, other.revisions, strict=True)
