"""How long a run will still take, judged by the stages of the same sort that have been seen."""

from __future__ import annotations

import math
from collections.abc import Iterable

from backbench.model import Stage, StageKind

_Sort = tuple[str, str]

#: Kinds of stages that take nearly all of the time.
_LONG = frozenset({StageKind.PRETRAIN, StageKind.SANITIZE, StageKind.REPAIR})


class Remaining:
    """Estimates the remaining seconds of a run.

    A stage is expected to take as long as those of its kind and plugin did, else as those of its
    kind; a running stage shows its progress. While nothing has been seen of a kind that trains,
    there is no estimate; of the other kinds, what has not been seen counts nothing.
    """

    def __init__(self, stages: Iterable[Stage], slots: int) -> None:
        self._left = {stage.key: _sort(stage) for stage in stages}
        self._slots = slots
        self._seen: dict[_Sort, list[float]] = {}
        self._running: dict[str, tuple[float, float]] = {}

    def started(self, stage: Stage, now: float) -> None:
        """Note that a stage has begun."""
        self._running[stage.key] = (now, 0.0)

    def progressed(self, stage: Stage, fraction: float) -> None:
        """Note how much of a stage is done, in [0, 1]."""
        if stage.key in self._running:
            self._running[stage.key] = (self._running[stage.key][0], fraction)

    def ended(self, stage: Stage, now: float) -> None:
        """Note that a stage is over, well or not."""
        began, _ = self._running.pop(stage.key, (now, 0.0))
        self._left.pop(stage.key, None)
        self._seen.setdefault(_sort(stage), []).append(now - began)

    def seconds(self, now: float) -> float:
        """Return the estimate; ``nan`` while of some kind of training nothing is known."""
        known = {sort: math.fsum(walls) / len(walls) for sort, walls in self._seen.items()}
        for key, (began, fraction) in self._running.items():
            if fraction > 0:
                known.setdefault(self._left[key], (now - began) / fraction)
        total = 0.0
        for key, sort in self._left.items():
            expected = known.get(sort, _mean_of_kind(known, sort[0]))
            if key in self._running:
                began, fraction = self._running[key]
                done = fraction * expected if fraction > 0 else now - began
                expected = max(0.0, expected - done)
            total += expected
        unknown = {kind for kind, _ in self._left.values()} - {kind for kind, _ in known}
        return math.nan if not known or unknown & _LONG else total / self._slots


def _sort(stage: Stage) -> _Sort:
    return stage.kind.value, stage.plugin.name if stage.plugin else ""


def _mean_of_kind(known: dict[_Sort, float], kind: str) -> float:
    same = [seconds for (one, _), seconds in known.items() if one == kind]
    return math.fsum(same) / len(same) if same else 0.0


def clock(seconds: float) -> str:
    """Format seconds: ``0:07``, ``12:30``, ``1:05:00``; ``–`` if not known."""
    if math.isnan(seconds):
        return "–"
    whole = round(seconds)
    minutes = f"{whole // 60 % 60}:{whole % 60:02}"
    return f"{whole // 3600}:{minutes:0>5}" if whole >= 3600 else minutes
