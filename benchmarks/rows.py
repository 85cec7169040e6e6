"""Rows: what a part found, and whether it reached its bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from benchmarks.rounds import Contender, Rounds, Spread, cpu_ratio, interleave, ratio


class GateError(Exception):
    """Results differ that have to be equal: there is no number to state."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What must hold for a number to be worth stating.

    Args:
        what: The condition, as the page states it.
        passed: Whether it holds.
    """

    what: str
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the page.

    Args:
        stage: What was timed.
        against: The peer, or ``limit``, or ``–``.
        unit: Of ours and the peer's numbers, as ``files/s``.
        ours: Of the harness.
        peer: Of the peer or the limit.
        ratio: Ours to the peer's, round by round.
        cpu_ratio: The same of units in a CPU-second.
        bar: Least ratio that reaches the bar; without a peer, least of ours. ``None``: no bar.
        at_most: Whether the bar is the most instead.
        gate: What must hold.
        disturbed: How many of the rounds others disturbed.
        note: Sizes, settings of the peer, what was estimated.
        profile: Where the time goes, if the bar was not reached.
        flags: Whether the peer runs as shipped or with flags that cost its user nothing; empty
            where there is no peer.
    """

    stage: str
    against: str
    unit: str
    ours: Spread
    gate: Gate
    peer: Spread | None = None
    ratio: Spread | None = None
    cpu_ratio: Spread | None = None
    bar: float | None = None
    at_most: bool = False
    disturbed: int = 0
    note: str = ""
    profile: str = ""
    flags: str = ""

    def __post_init__(self) -> None:
        if not self.gate.passed:
            raise GateError(f"{self.stage} against {self.against}: not so: {self.gate.what}")

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; ``None`` without one."""
        if self.bar is None:
            return None
        judged = (self.ratio or self.ours).median
        return judged <= self.bar if self.at_most else judged >= self.bar


@dataclass(frozen=True, slots=True)
class Absent:
    """A row that was not measured.

    Args:
        stage: What would have been timed.
        against: The peer that is missing, or the machine.
        why: And what to do about it.
    """

    stage: str
    against: str
    why: str


@dataclass(frozen=True, slots=True)
class Table:
    """What a part has to say besides its rows.

    Args:
        head: Headings.
        lines: Cells.
        text: What stands below.
    """

    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What parts are told.

    Args:
        rounds: How many count.
        repeats: How often a disturbed one is done again.
        scratch: A folder for their files, emptied by nobody.
        published: Folder of the published code; ``None`` if it is not there.
        data: Folder with the small datasets that tests use too; ``None`` if it is not there.
        say: Told what happens.
    """

    rounds: int
    repeats: int
    scratch: Path
    published: Path | None
    data: Path | None
    say: Callable[[str], None]

    def interleave(self, contenders: Sequence[Contender]) -> Rounds:
        """Let contenders do their timed sections in turn; see :func:`benchmarks.rounds.interleave`.

        Args:
            contenders: With names that differ.
        """
        return interleave(contenders, self.rounds, self.repeats, self.say)


#: What a part finds.
Found = Row | Absent | Table


@runtime_checkable
class Part(Protocol):
    """A module of :mod:`benchmarks.parts`."""

    def rows(self, settings: Settings) -> list[Found]:
        """Measure."""
        ...


def compare(
    found: Rounds,
    *,
    stage: str,
    against: str,
    ours: str,
    peer: str,
    unit: str,
    gate: Gate,
    bar: float | None = None,
    note: str = "",
    profile: str = "",
    flags: str = "as shipped",
) -> Row:
    """Make a row of two contenders of the same rounds.

    Args:
        found: The rounds.
        stage: What was timed.
        against: The peer, as the page names it.
        ours: Name of the contender that is ours.
        peer: Name of the other.
        unit: Of both rates.
        gate: What must hold.
        bar: Least ratio.
        note: See :class:`Row`.
        profile: See :class:`Row`.
        flags: See :class:`Row`.

    Raises:
        GateError: If the gate does not hold.
    """
    a, b = found.of[ours], found.of[peer]
    return Row(
        stage=stage,
        against=against,
        unit=unit,
        ours=a.rate,
        peer=b.rate,
        ratio=ratio(a, b),
        cpu_ratio=cpu_ratio(a, b),
        bar=bar,
        gate=gate,
        disturbed=found.disturbed,
        note=note,
        profile=profile,
        flags=flags,
    )
