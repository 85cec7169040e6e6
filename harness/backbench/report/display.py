"""Parts of both displays of a run: the console, the remaining time, and texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from backbench.model import Stage, StageKind

if TYPE_CHECKING:
    from rich.console import Console

_Sort = tuple[str, str]

#: Kinds of stages that take nearly all of the time.
_LONG = frozenset(
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

#: Names of what training logs, as there is room for.
_SHORT = {
    "feature_spread": "spread",
    "effective_rank": "rank",
    "knn_accuracy": "k-NN",
    "knn_accuracy_triggered": "k-NN triggered",
    "knn_asr": "k-NN ASR",
    "resumed": "goes on after epoch",
}

#: So many notes on the store are printed.
_NOTES = 20


class Display:
    """The console and the remaining time of either display."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._remaining = Remaining((), 1)

    def close(self) -> None:
        """Take the display down, if there is one."""


def few(notes: Sequence[str]) -> Iterator[str]:
    """Yield the first notes, and how many there are."""
    yield from notes[:_NOTES]
    if len(notes) > _NOTES:
        yield f"{len(notes)} such warnings in all"


def values_text(values: Mapping[str, float]) -> str:
    """Return the values that training logs, with short names."""
    return " ".join(
        f"{_SHORT.get(name, name)} {value:.3g}" for name, value in values.items() if name != "epoch"
    )


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
    return stage.kind.value, " with ".join(use.name for use in stage.uses)


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
