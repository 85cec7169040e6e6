"""How time and memory grow: with cells, with pictures, with workers.

Every operation runs in a process of its own. Commands are timed with their start-up; operations on
pictures without it. Memory is the peak of the resident set; for operations on pictures also that of
the anonymous memory alone: decoded pictures are mapped from their file, and a mapped page counts as
resident although the system takes it back when it needs room.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from benchmarks.rounds import Contender, Measured, Spread, interleave, python
from benchmarks.rows import Gate, Row, Settings

#: Command of the harness, and on how many cells of a finished store: ten thousand have eighteen
#: thousand evaluations, their controls among them.
_COMMANDS: Final = (
    ("check", (400, 4000, 10000)),
    ("plan", (400, 4000)),
    ("show", (400, 4000)),
    ("run", (400, 4000)),
    ("claims", (400, 4000, 10000)),
    ("rescore", (400, 4000)),
    ("verify", (400, 4000)),
)

#: Operation, and on how many pictures.
_PICTURES: Final = (
    ("plan-images", (1_000, 10_000, 100_000, 1_000_000)),
    ("decode", (300, 3_000)),
    ("poison", (1_000, 10_000, 100_000, 1_000_000)),
    ("features", (1_000, 10_000, 100_000)),
    ("k-NN", (1_000, 10_000, 100_000, 1_000_000)),
)

_WORKERS: Final = (1, 2, 4)

#: How much more memory is still flat.
_FLAT: Final = 1.1

#: Sizes whose peak memory is compared: the second is ten times the first.
_TENFOLD: Final = (
    ("poison", "poisoning", 10_000),
    ("decode", "caching decoded pictures", 300),
    ("features", "feature extraction", 10_000),
)

_NAMES: Final = {
    "plan-images": "plan, by training pictures",
    "decode": "cache of decoded JPEGs",
    "poison": "poisoning: choice, places, manifests, changed pictures",
    "features": "features: a network of 4 channels",
    "k-NN": "k-NN of 100 queries, 64 features",
    "run": "run of a finished matrix",
}


@dataclass(frozen=True, slots=True)
class Point:
    """What an operation took at a size.

    Args:
        size: Cells, pictures or workers.
        seconds: Of each round.
        peak: Of the resident set, MiB, of each round.
        anonymous: Of anonymous memory, MiB, of each round; empty where it was not asked for.
    """

    size: int
    seconds: Sequence[float]
    peak: Sequence[float]
    anonymous: Sequence[float]

    @classmethod
    def of(cls, size: int, found: Measured) -> Point:
        """Read what a contender said."""
        turns = [one for turn in found.answers for one in turn]
        anonymous = [float(one["anonymous_mib"]) for one in turns if "anonymous_mib" in one]
        return cls(size, found.seconds, found.peak_mib, anonymous)

    def __str__(self) -> str:
        text = f"{self.size:,}: {np.median(self.seconds):.2f} s, {max(self.peak):,.0f} MiB"
        if self.anonymous:
            text += f" ({max(self.anonymous):,.0f} anonymous)"
        return text


def exponent(points: Sequence[Point]) -> float:
    """Return the power of the size with which seconds grow: the slope of their logarithms."""
    sizes = np.log([one.size for one in points])
    seconds = np.log([np.median(one.seconds) for one in points])
    return float(np.polyfit(sizes, seconds, 1)[0])


def rows(settings: Settings) -> list[Row]:
    """Measure."""
    bars = [
        _bar(settings, "plan of 10,000 cells", "plan", 10000, 2.0),
        _bar(settings, "show of 10,080 evaluations (5,600 cells)", "show", 5600, 3.0),
        _bar(settings, "show of 18,000 evaluations (10,000 cells)", "show", 10000, None),
    ]
    known = {("plan", 10000): bars[0][1], ("show", 10000): bars[2][1]}
    curves: dict[str, list[Point]] = {}
    found: list[Row] = [row for row, _ in bars]
    for name, sizes in (*_COMMANDS, *_PICTURES):
        points = _curve(settings, name, sizes)
        points += [point for (operation, _), point in known.items() if operation == name]
        curves[name] = points
        found.append(_growth(name, points))
    found += [_flat(curves[name], what, size) for name, what, size in _TENFOLD]
    found.append(_by_workers(settings))
    found[-1] = replace(found[-1], note=f"{found[-1].note}. {what_breaks_first(curves)}")
    return found


def _contender(settings: Settings, name: str, size: int) -> Contender:
    folder = settings.scratch / "growth"
    command = python("benchmarks.workers.growth", name, str(size), str(folder))
    return Contender(str(size), command, cores="0-1" if name in {"workers", "decode"} else "1")


def _bar(
    settings: Settings, stage: str, name: str, size: int, bar: float | None
) -> tuple[Row, Point]:
    """Time one size in all rounds."""
    found = settings.interleave([_contender(settings, name, size)])
    measured = found.of[str(size)]
    said = {one["said"] for turn in measured.answers for one in turn}
    row = Row(
        stage=stage,
        against="–",
        unit="s",
        ours=Spread.of(measured.seconds),
        bar=bar,
        at_most=True,
        gate=Gate("the same text in every round", len(said) == 1),
        disturbed=found.disturbed,
        note=f"one core, start-up included; peak {max(measured.peak_mib):,.0f} MiB",
    )
    return row, Point.of(size, measured)


def _curve(settings: Settings, name: str, sizes: Sequence[int]) -> list[Point]:
    """Time every size once, one after the other: each is ready only while it is its turn."""
    points = []
    for size in sizes:
        found = interleave([_contender(settings, name, size)], 1, 1, settings.say)
        points.append(Point.of(size, found.of[str(size)]))
    return points


def _growth(name: str, points: Sequence[Point]) -> Row:
    power = exponent(points)
    return Row(
        stage=f"growth: {_NAMES.get(name, name)}",
        against="–",
        unit="= power of the size",
        ours=Spread.of([power]),
        gate=Gate("every size gave a result", len(points) > 1 and math.isfinite(power)),
        note="; ".join(map(str, points)),
    )


def _flat(points: Sequence[Point], what: str, size: int) -> Row:
    least, most = (next(one for one in points if one.size == n) for n in (size, 10 * size))
    resident = max(most.peak) / max(least.peak)
    return Row(
        stage=f"memory of {what} as pictures grow tenfold",
        against="–",
        unit="×",
        ours=Spread.of([max(most.anonymous) / max(least.anonymous)]),
        bar=_FLAT,
        at_most=True,
        gate=Gate("both sizes gave a result", bool(least.seconds and most.seconds)),
        note=(
            f"anonymous memory, {size:,} and {10 * size:,} pictures; results go to the disk batch "
            f"by batch. The resident set, with the mapped pictures in it, grows {resident:.2f} ×"
        ),
    )


def _by_workers(settings: Settings) -> Row:
    points = _curve(settings, "workers", _WORKERS)
    first, last = np.median(points[0].seconds), min(np.median(one.seconds) for one in points)
    return Row(
        stage="growth: workers",
        against="1 worker",
        unit="× as fast at best",
        ours=Spread.of([float(first / last)]),
        gate=Gate("every number of workers gave a result", len(points) == len(_WORKERS)),
        note="4 short trainings and their evaluations on two cores; " + "; ".join(map(str, points)),
    )


def what_breaks_first(curves: dict[str, list[Point]]) -> str:
    """Say what ends the growth, worked out from the slopes between the two largest sizes."""
    show, plan, verify, poison = (curves[name] for name in ("show", "plan", "verify", "poison"))
    minute = show[-1].size + (60 - np.median(show[-1].seconds)) / _slope(show)
    memory = (max(plan[-1].peak) - max(plan[-2].peak)) / (plan[-1].size - plan[-2].size)
    return (
        "What breaks first: time, not memory. `show` reads two small files for each evaluation, "
        "its record and its predictions, and puts a two-way table on every number: "
        f"{1000 * _slope(show):.2f} s a thousand cells, so that it takes a minute at about "
        f"{round(float(minute), -3):,.0f} cells. `plan` costs {1000 * _slope(plan):.2f} s and "
        f"{1000 * memory:.1f} MiB a thousand cells, most of it one hash a stage and the stages "
        f"themselves. `verify` hashes every artifact: {1000 * _slope(verify):.1f} s a thousand "
        "cells here, where artifacts are small. On the side of pictures it is the stamping, one "
        f"picture at a time in one process: {1e6 * _slope(poison):.0f} s a million training "
        "pictures of which a tenth is poisoned; memory holds eight bytes of label and eight of "
        "place in the index for each picture, and k-NN the whole bank of features"
    )


def _slope(points: Sequence[Point]) -> float:
    """Return seconds for each further unit, between the two largest sizes."""
    one, other = points[-2], points[-1]
    return float((np.median(other.seconds) - np.median(one.seconds)) / (other.size - one.size))
