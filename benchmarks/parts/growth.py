"""How time and memory grow: with encoders, with images, with workers.

Every operation runs in a process of its own. Commands are timed with their start-up; operations on
images without it. Memory is the peak of the resident set, and that of the anonymous memory alone:
decoded images are mapped from their file, and a mapped page counts as resident although the
system takes it back when it needs room.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.rounds import Contender, Measured, Spread, interleave, python
from benchmarks.rows import Found, Gate, Row, Settings, Table

#: Command of the harness, and on how many encoders of a finished store; four cells each.
_COMMANDS: Final = (
    ("check", (100, 1000)),
    ("plan", (1, 10, 100, 1000)),
    ("show", (1, 10, 100, 1000)),
    ("run", (100, 1000)),
    ("claims", (100, 1000)),
    ("show --asr", (100, 1000)),
    ("verify", (100, 1000)),
)

#: Operation, and on how many images.
_IMAGES: Final = (
    ("plan-images", (1_000, 10_000, 100_000, 1_000_000)),
    ("decode", (300, 3_000)),
    ("poison", (1_000, 10_000, 100_000, 1_000_000)),
    ("features", (1_000, 10_000, 100_000, 1_000_000)),
    ("k-NN", (1_000, 10_000, 100_000, 1_000_000)),
)

_WORKERS: Final = (1, 2, 4)

#: Bars are judged by so many rounds, or fewer if fewer are asked for; a point of a curve is timed
#: once.
_ROUNDS: Final = 3

#: How much more memory is still flat.
_FLAT: Final = 1.1

#: Sizes whose peak memory is compared: the second is ten times the first.
_TENFOLD: Final = (
    ("poison", "poisoning", 10_000),
    ("decode", "caching decoded images", 300),
    ("features", "feature extraction", 10_000),
)

_NAMES: Final = {
    "run": "run, of a finished matrix",
    "plan-images": "plan",
    "decode": "cache of decoded JPEGs",
    "poison": "poisoning: choice, positions, manifests, changed images",
    "features": "features, a network of 4 channels",
    "k-NN": "k-NN of 100 queries, 64 features",
    "workers": "run of 4 short trainings and their evaluations, two cores",
}

#: Why an operation takes what it takes; which of them is the first to break is measured.
_WHY: Final = {
    "check": "it reads the file and lists the cells",
    "plan": "it keeps every distinct stage, and hashes each once",
    "show": "it opens two small files for each evaluation, its record and its predictions",
    "run": "it plans, and looks each stage up in the store",
    "claims": "it opens two small files for each evaluation, its record and its predictions",
    "show --asr": "it opens two small files for each evaluation and counts them again",
    "verify": "it hashes every artifact and counts every evaluation again",
    "plan-images": "it reads counts, and no image",
    "decode": "it decodes every image once, with all cores",
    "poison": "it stamps one image at a time, in one process",
    "features": "it puts every image through the network",
    "k-NN": "it holds the whole bank of features",
}


@dataclass(frozen=True, slots=True)
class Point:
    """What an operation took at a size.

    Args:
        size: Encoders, images or workers.
        seconds: Of each round.
        peak: Of the resident set, MiB, of each round.
        anonymous: Of anonymous memory, MiB, of each round.
    """

    size: int
    seconds: Sequence[float]
    peak: Sequence[float]
    anonymous: Sequence[float]

    @classmethod
    def of(cls, size: int, found: Measured) -> Point:
        """Read what a contender said."""
        anonymous = [float(one["anonymous_mib"]) for turn in found.answers for one in turn]
        return cls(size, found.seconds, found.peak_mib, anonymous)

    @property
    def second(self) -> float:
        """The median of the seconds."""
        return float(np.median(self.seconds))


@dataclass(frozen=True, slots=True)
class Curve:
    """An operation at several sizes.

    Args:
        name: The operation.
        of: What the sizes count.
        points: By size.
    """

    name: str
    of: str
    points: Sequence[Point]

    def power(self, last: int | None = None) -> float:
        """Return the power of the size with which seconds grow: the slope of their logarithms.

        Args:
            last: Of how many of the largest sizes; ``None``: of all.
        """
        points = self.points[-last:] if last else self.points
        seconds = np.log([one.second for one in points])
        return float(np.polyfit(np.log([one.size for one in points]), seconds, 1)[0])

    def each(self) -> float:
        """Return the seconds for one more, between the two largest sizes."""
        one, other = self.points[-2:]
        return (other.second - one.second) / (other.size - one.size)

    def each_mib(self) -> float:
        """Return the anonymous memory for one more, between the two largest sizes."""
        one, other = self.points[-2:]
        return (max(other.anonymous) - max(one.anonymous)) / (other.size - one.size)

    def reaches(self, seconds: float) -> float:
        """Return the size at which it takes so long, if it goes on as between the two largest."""
        last = self.points[-1]
        return last.size + (seconds - last.second) / self.each() if self.each() > 0 else math.inf

    def fills(self, mib: float) -> float:
        """Return the size at which it holds so much, likewise."""
        last, more = self.points[-1], self.each_mib()
        return last.size + (mib - max(last.anonymous)) / more if more > 0 else math.inf


def rows(settings: Settings) -> list[Found]:
    """Measure."""
    plan, plan_point = _bar(settings, "plan of 10,000 cells", "plan", 2500, 2.0)
    show, show_point = _bar(settings, "show of 10,080 evaluations", "show", 1400, 3.0)
    more = {"plan": [plan_point], "show": [show_point]}
    curves = {
        name: Curve(name, of, [*_points(settings, name, sizes), *more.get(name, [])])
        for of, operations in (("encoders", _COMMANDS), ("images", _IMAGES))
        for name, sizes in operations
    }
    workers = Curve("workers", "workers", _points(settings, "workers", _WORKERS))
    flat = [_flat(curves[name].points, what, size) for name, what, size in _TENFOLD]
    return [plan, show, *flat, table([*curves.values(), workers], what_breaks_first(curves))]


def _contender(settings: Settings, name: str, size: int) -> Contender:
    folder = settings.scratch / "growth"
    command = python("benchmarks.workers.growth", name, str(size), str(folder))
    return Contender(str(size), command, cores="0-1" if name in {"workers", "decode"} else "1")


def _bar(settings: Settings, stage: str, name: str, size: int, bar: float) -> tuple[Row, Point]:
    """Time one size in all rounds."""
    rounds = min(settings.rounds, _ROUNDS)
    found = interleave([_contender(settings, name, size)], rounds, settings.repeats, settings.say)
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
        note=f"One core, start-up included; peak {max(measured.peak_mib):,.0f} MiB",
    )
    return row, Point.of(size, measured)


def _points(settings: Settings, name: str, sizes: Sequence[int]) -> list[Point]:
    """Time every size once, one after the other: each is ready only while it is its turn."""
    points = []
    for size in sizes:
        found = interleave([_contender(settings, name, size)], 1, 1, settings.say)
        points.append(Point.of(size, found.of[str(size)]))
    return points


def _flat(points: Sequence[Point], what: str, size: int) -> Row:
    least, most = (next(one for one in points if one.size == n) for n in (size, 10 * size))
    resident = max(most.peak) / max(least.peak)
    return Row(
        stage=f"memory of {what} as images grow tenfold",
        against="–",
        unit="×",
        ours=Spread.of([max(most.anonymous) / max(least.anonymous)]),
        bar=_FLAT,
        at_most=True,
        gate=Gate("both sizes gave a result", bool(least.seconds and most.seconds)),
        note=(
            f"Anonymous memory, {size:,} and {10 * size:,} images; results go to the disk batch "
            f"by batch. The resident set, with the mapped images in it, grows {resident:.2f} ×"
        ),
    )


def table(curves: Sequence[Curve], text: str) -> Table:
    """Return a line for each size of each operation."""
    lines = []
    for curve in curves:
        is_power = curve.of != "workers"
        for at, one in enumerate(curve.points):
            name = _NAMES.get(curve.name, curve.name)
            powers = [f"{curve.power():.2f}", f"{curve.power(2):.2f}"] if is_power else ["–", "–"]
            lines.append(
                [
                    *([name, curve.of] if at == 0 else ["", ""]),
                    f"{one.size:,}",
                    f"{one.second:.2f}",
                    f"{max(one.anonymous):,.0f}",
                    f"{max(one.peak):,.0f}",
                    *(powers if at == 0 else ["", ""]),
                ]
            )
    head = (
        "Operation",
        "Of",
        "Size",
        "Seconds",
        "Anonymous, MiB",
        "Resident, MiB",
        "Power",
        "Of the last two",
    )
    return Table(head, lines, text)


_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_ROOM: Final = 16384.0  # MiB


def what_breaks_first(curves: dict[str, Curve]) -> str:
    """Say what ends the growth, by lines through the two largest sizes of each operation.

    Of encoders, the first command that takes more than a minute; of images, the first operation
    that takes more than an hour; of both, the first that holds more than 16 GiB.
    """
    introduction = (
        "Seconds grow as the stated power of the size: fitted to all sizes, start-up included, and "
        "between the last two. *What breaks first*, if each operation grows on as between its two "
        "largest sizes:"
    )
    found = [introduction]
    for of, limit, what in (("encoders", _MINUTE, "a minute"), ("images", _HOUR, "an hour")):
        group = [one for one in curves.values() if one.of == of]
        first = min(group, key=lambda one: one.reaches(limit))
        full = min(group, key=lambda one: one.fills(_ROOM))
        each = 1000 if of == "encoders" else 1_000_000
        found.append(
            f"Of {of}, `{first.name}` is the first that takes {what}, at about "
            f"{_rough(first.reaches(limit))}: {_WHY[first.name]}, {first.each() * each:.1f} s for "
            f"{each:,} more. 16 GiB are first held by `{full.name}`, at about "
            f"{_rough(full.fills(_ROOM))}: {_WHY[full.name]}, {full.each_mib() * each:,.0f} MiB "
            f"for {each:,} more."
        )
        sooner = first.reaches(limit) < full.fills(_ROOM)
        found.append(f"So {'time' if sooner else 'memory'} ends the growth in {of}.")
    return " ".join(found)


def _rough(size: float) -> str:
    """Return a size with two digits that count."""
    if math.isinf(size):
        return "no size"
    return f"{round(size, 1 - math.floor(math.log10(size))):,.0f}"
