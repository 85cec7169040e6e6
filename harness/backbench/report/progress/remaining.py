"""The remaining time of a run, by what has been seen of its stages. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from backbench.execution.scheduler import Queue
from backbench.execution.simulation import Slots, play
from backbench.model import Stage, StageKind

#: Kinds of stages that take nearly all of the time.
LONG = frozenset(
    {
        StageKind.FIT_TRIGGER,
        StageKind.PRETRAIN,
        StageKind.IMPLANT,
        StageKind.SANITIZE,
        StageKind.INSPECT,
        StageKind.REPAIR,
        StageKind.FIT_DETECTOR,
    }
)


@dataclass(frozen=True, slots=True)
class Sort:
    """Stages that are expected to take equally long.

    Args:
        kind: Kind of the stages.
        plugins: Who does it.
        work: Units of work, where options give them: epochs and, of what trains on a part of the
            images, that part.
    """

    kind: StageKind
    plugins: str
    work: float


class _Running(NamedTuple):
    """A running stage: when it began, when it last reported how much is done, and how much."""

    began: float
    reported: float
    fraction: float


class Remaining:
    """Estimates the remaining seconds of a run.

    A stage is expected to take as long as those of its sort: kind, plugins and epochs. Where none
    has been seen, it counts by its epochs as those of its plugin do, else as the median of those of
    its kind, else of all that train, and at most as the longest stage seen. A running stage shows
    its sort by its progress. What earlier runs have seen counts as much longer or shorter as the
    trainings of this run take. The estimate is the end of the schedule that the stages then have:
    in the order of the plan, as slots are free and inputs there. While of nothing that trains
    anything is known, there is no estimate.

    Args:
        stages: The stages of the run.
        slots: Number of stages that run at a time.
        seen: Stages that earlier runs have made, with their seconds.
    """

    def __init__(
        self, stages: Iterable[Stage], slots: int, seen: Iterable[tuple[Stage, float]] = ()
    ) -> None:
        self._stages = {stage.key: stage for stage in stages}
        self._left = {key: sort_of(stage) for key, stage in self._stages.items()}
        self._slots = slots
        self._seen: dict[Sort, list[float]] = {}
        self._running: dict[str, _Running] = {}
        earlier: dict[Sort, list[float]] = {}
        for stage, seconds in seen:
            earlier.setdefault(sort_of(stage), []).append(seconds)
        self._earlier = {sort: statistics.fmean(walls) for sort, walls in earlier.items()}

    def started(self, stage: Stage, now: float) -> None:
        """Note that a stage has begun."""
        self._running[stage.key] = _Running(now, now, 0.0)

    def progressed(self, stage: Stage, fraction: float, now: float) -> None:
        """Note how much of a stage is done, in [0, 1]."""
        if stage.key in self._running:
            self._running[stage.key] = _Running(self._running[stage.key].began, now, fraction)

    def ended(self, stage: Stage, now: float) -> None:
        """Note that a stage is done."""
        began = self._running.pop(stage.key, _Running(now, now, 0.0)).began
        if sort := self._left.pop(stage.key, None):
            self._seen.setdefault(sort, []).append(now - began)

    def failed(self, stage: Stage) -> None:
        """Note that a stage failed: what reads it, and what reads that, is not begun."""
        self._running.pop(stage.key, None)
        lost = {stage.key}
        for key in list(self._left):  # each after those that it reads
            if key in lost or lost & set(self._stages[key].inputs.values()):
                lost.add(key)
                del self._left[key]

    def of(self, key: str, now: float) -> float:
        """Return the remaining seconds of a running stage; ``nan`` while nothing is known."""
        if key not in self._left:
            return 0.0
        sort = self._left[key]
        return self._left_of(key, now, {sort: _expected(sort, self._known())})

    def seconds(self, now: float) -> float:
        """Return the remaining seconds of the run; ``nan`` while nothing is known."""
        known = self._known()
        sorts = set(self._left.values())
        trains = any(sort.kind in LONG for sort in sorts)
        if not known or (trains and not any(sort.kind in LONG for sort in known)):
            return math.nan
        expected = {sort: _expected(sort, known) for sort in sorts}
        return self._end({key: self._left_of(key, now, expected) for key in self._left})

    def _known(self) -> dict[Sort, float]:
        """Return the seconds of each sort that has been seen, or whose first stage is under way.

        The less of that one is done, the more an earlier run counts, if there was one.
        """
        known = {sort: statistics.fmean(walls) for sort, walls in self._seen.items()}
        for key, one in self._running.items():
            if one.fraction > 0 and key in self._left:
                sort = self._left[key]
                seconds = (one.reported - one.began) / one.fraction
                earlier = self._earlier.get(sort, seconds)
                known.setdefault(sort, earlier + one.fraction * (seconds - earlier))
        both = [sort for sort in known.keys() & self._earlier.keys() if sort.kind in LONG]
        before = math.fsum(self._earlier[sort] for sort in both)
        scale = math.fsum(known[sort] for sort in both) / before if before else 1.0
        return {sort: seconds * scale for sort, seconds in self._earlier.items()} | known

    def _left_of(self, key: str, now: float, expected_of: Mapping[Sort, float]) -> float:
        expected = expected_of[self._left[key]]
        if key not in self._running:
            return expected
        one = self._running[key]
        return max(0.0, expected - one.fraction * expected - (now - one.reported))

    def _end(self, left: Mapping[str, float]) -> float:
        """Return the seconds until the last stage ends, if each takes what is left of it."""
        order = sorted(left, key=lambda key: key not in self._running)  # those have their slots
        read = chain.from_iterable(self._stages[key].inputs.values() for key in left)
        return play(Queue(self._stages, order, set(read) - left.keys()), left, Slots(self._slots))


def sort_of(stage: Stage) -> Sort:
    """Return what decides how long a stage takes, as far as the stage itself shows it."""
    options = stage.plugin.options if stage.plugin else {}
    work = _number(options.get("epochs")) * _number(options.get("clean_fraction"))
    return Sort(stage.kind, " with ".join(use.name for use in stage.uses), work)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else 1.0


def _expected(sort: Sort, known: Mapping[Sort, float]) -> float:
    """Return the seconds that a stage of a sort is expected to take; 0 where nothing is alike."""
    if sort in known:
        return known[sort]
    seen = any(one.plugins == sort.plugins for one in known)
    most = math.inf if seen or not known else max(known.values())
    for like in _alike(sort, known):
        if like:  # an epoch of another plugin may be shorter by far: nothing outdoes all seen
            return min(most, sort.work * statistics.median(like))
    return 0.0


def _alike(sort: Sort, known: Mapping[Sort, float]) -> Iterator[list[float]]:
    """Yield the seconds for a unit of work: of the same plugin, of the kind, of all that train."""
    pairs = [(one, seconds / one.work) for one, seconds in known.items()]
    same = [one for one in pairs if one[0].kind is sort.kind]
    yield [unit for one, unit in same if one.plugins == sort.plugins]
    yield [unit for _, unit in same]
    if sort.kind in LONG:
        yield [unit for one, unit in pairs if one.kind in LONG]


def left(seconds: float, before: str) -> str:
    """Return how long the rest takes, after what is ``before`` it; empty if not known."""
    return "" if math.isnan(seconds) else f"{before}about {clock(seconds)} left"


def clock(seconds: float) -> str:
    """Format seconds: ``0:07``, ``12:30``, ``1:05:00``; ``–`` if not known."""
    if math.isnan(seconds):
        return "–"
    whole = round(seconds)
    minutes = f"{whole // 60 % 60}:{whole % 60:02}"
    return f"{whole // 3600}:{minutes:0>5}" if whole >= 3600 else minutes
