"""Interleaved rounds of contenders: A, B, B, A, A, B …, each in processes of its own.

A contender's processes start once, make ready, and wait; a round lets one contender after the other
do its timed section, alone. A round in which other processes took more than 5 % of a core is
repeated, and counted as disturbed when that happens too often.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any, Final, Self

from benchmarks.processes import others, read

#: Share of one core that others may take during a timed section.
QUIET: Final = 0.05
#: How often a disturbed round is repeated before it counts all the same, marked as disturbed.
REPEATS: Final = 3

ROOT: Final = Path(__file__).resolve().parents[1]
_SOURCES: Final = (
    "harness",
    "plugins/attacks",
    "plugins/ssl",
    "plugins/defenses",
    "plugins/evaluators",
    "plugins/observers",
)


@dataclass(frozen=True, slots=True)
class Contender:
    """A command whose processes speak the protocol of :mod:`benchmarks.worker`.

    Args:
        name: Short; names it in tables.
        command: Program and arguments. ``{process}`` in an argument is the process's number.
        env: Added to the environment.
        processes: How many are started; they do their timed sections at the same time.
        cores: Cores each process is pinned to, as ``"0"`` or ``"0-1"``; several are for one process
            after the other. Nothing pins nothing.
        fresh: Whether the processes are started anew for every round.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
    cores: str | tuple[str, ...] = ()
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range of some numbers.

    Args:
        median: Of them.
        low: The least.
        high: The greatest.
        n: How many there are.
    """

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Sum up numbers; at least one."""
        return cls(median(numbers), min(numbers), max(numbers), len(numbers))


@dataclass(slots=True)
class Measured:
    """What one contender did, round by round.

    Args:
        name: The contender's.
        rates: Units in a second of wall clock, all processes together.
        seconds: Of the slowest process.
        cpu_s: CPU-seconds of all processes and those below them.
        peak_mib: Of the largest process.
        answers: What each process said, for gates.
    """

    name: str
    rates: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)
    answers: list[list[dict[str, Any]]] = field(default_factory=list)

    @property
    def rate(self) -> Spread:
        """Units in a second of wall clock."""
        return Spread.of(self.rates)

    @property
    def per_cpu_second(self) -> list[float]:
        """Units in a CPU-second, round by round."""
        pairs = zip(self.rates, self.seconds, self.cpu_s, strict=True)
        return [rate * seconds / max(cpu, 1e-9) for rate, seconds, cpu in pairs]


@dataclass(slots=True)
class Rounds:
    """What all contenders did in the same rounds.

    Args:
        of: By the contender's name.
        disturbed: How many rounds count although others took more than 5 % of a core.
        repeated: How many rounds were thrown away because of that.
        noise: Share of a core that others took in each round that counts.
    """

    of: dict[str, Measured]
    disturbed: int = 0
    repeated: int = 0
    noise: list[float] = field(default_factory=list)


def ratio(ours: Measured, peer: Measured) -> Spread:
    """Return how many times as fast ours was, round by round."""
    return Spread.of([a / b for a, b in zip(ours.rates, peer.rates, strict=True)])


def cpu_ratio(ours: Measured, peer: Measured) -> Spread:
    """Return how many times as many units ours did in a CPU-second, round by round."""
    pairs = zip(ours.per_cpu_second, peer.per_cpu_second, strict=True)
    return Spread.of([a / b for a, b in pairs])


def order(count: int, number: int) -> list[int]:
    """Return who goes when in a round: forwards, then backwards, in turn.

    Args:
        count: Of contenders.
        number: Of the round, from 0.
    """
    forwards = list(range(count))
    return forwards if number % 2 == 0 else forwards[::-1]


def interleave(
    contenders: Sequence[Contender],
    rounds: int = 5,
    repeats: int = REPEATS,
    say: Callable[[str], None] | None = None,
) -> Rounds:
    """Let contenders do their timed sections in turn.

    Args:
        contenders: With names that differ.
        rounds: How many count.
        repeats: How often a disturbed one is done again.
        say: Told about each round.

    Returns:
        The rates of each, round by round.

    Raises:
        RuntimeError: If a process ends or says something else; with the end of its messages.
    """
    with _Teams(contenders) as teams:

        def measure(index: int) -> tuple[Turn, float]:
            return teams.turn(index)

        names = [one.name for one in contenders]
        return gather(names, measure, rounds, repeats, say or (lambda _: None))


@dataclass(frozen=True, slots=True)
class Turn:
    """One timed section of one contender.

    Args:
        answers: Of each process.
        cpu_s: CPU-seconds of all of them.
    """

    answers: list[dict[str, Any]]
    cpu_s: float


def gather(
    names: Sequence[str],
    measure: Callable[[int], tuple[Turn, float]],
    rounds: int,
    repeats: int,
    say: Callable[[str], None],
) -> Rounds:
    """Collect rounds, and throw away those that others disturbed.

    Args:
        names: Of the contenders.
        measure: Lets the contender of an index do its timed section; gives the share of a core that
            others took meanwhile too.
        rounds: How many count.
        repeats: How often a disturbed one is done again.
        say: Told about each round.
    """
    found = Rounds({name: Measured(name) for name in names})
    for number in range(rounds):
        for attempt in range(repeats + 1):
            turns = {index: measure(index) for index in order(len(names), number)}
            noise = max(share for _, share in turns.values())
            if noise <= QUIET:
                break
            say(f"round {number + 1}: other processes took {noise:.0%} of a core")
            if attempt < repeats:
                found.repeated += 1
        else:
            found.disturbed += 1
        found.noise.append(noise)
        for index, (turn, _) in turns.items():
            _add(found.of[names[index]], turn)
        rates = ", ".join(f"{name} {found.of[name].rates[-1]:.4g}/s" for name in names)
        say(f"round {number + 1} of {rounds}: {rates}")
    return found


def _add(measured: Measured, turn: Turn) -> None:
    seconds = max(float(one["seconds"]) for one in turn.answers)
    measured.rates.append(sum(float(one["units"]) for one in turn.answers) / seconds)
    measured.seconds.append(seconds)
    measured.cpu_s.append(turn.cpu_s)
    measured.peak_mib.append(max(float(one.get("peak_mib", 0)) for one in turn.answers))
    measured.answers.append(turn.answers)


# -- processes ---------------------------------------------------------------------------------


class _Teams:
    """The processes of all contenders, started when they are first needed."""

    def __init__(self, contenders: Sequence[Contender]) -> None:
        self._contenders = contenders
        self._teams: dict[int, _Team] = {}

    def __enter__(self) -> Self:
        try:
            for index, contender in enumerate(self._contenders):
                if not contender.fresh:
                    self._teams[index] = _Team(contender)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for team in self._teams.values():
            team.close()

    def turn(self, index: int) -> tuple[Turn, float]:
        if self._contenders[index].fresh:
            self._teams[index] = _Team(self._contenders[index])
        team = self._teams[index]
        before = read(team.pids, time.monotonic)
        answers = team.go()
        after = read(team.pids, time.monotonic)
        turn = Turn(answers, after.own - before.own)
        if self._contenders[index].fresh:
            self._teams.pop(index).close()
        return turn, others(before, after)


class _Team:
    """The processes of one contender."""

    def __init__(self, contender: Contender) -> None:
        self._name = contender.name
        self._messages: list[IO[bytes]] = []
        self._members: list[subprocess.Popen[str]] = []
        try:
            for number in range(contender.processes):
                self._start(contender, number)
            for number in range(contender.processes):
                self._expect_ready(number)
        except BaseException:
            self.close()
            raise

    def _start(self, contender: Contender, number: int) -> None:
        messages = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._messages.append(messages)
        places = (contender.cores,) if isinstance(contender.cores, str) else contender.cores
        wanted = cores_of(places[number % len(places)]) if places else None
        allowed = os.sched_getaffinity(0)
        self._members.append(
            subprocess.Popen(
                [one.replace("{process}", str(number)) for one in contender.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
                text=True,
                env={**os.environ, **environment(), **contender.env},
                preexec_fn=lambda: os.sched_setaffinity(0, wanted or allowed),  # noqa: PLW1509
            )
        )

    def _expect_ready(self, number: int) -> None:
        if (line := self._line(number)) != "ready":
            raise RuntimeError(f"{self._name}: said {line!r} instead of 'ready'")

    @property
    def pids(self) -> list[int]:
        return [one.pid for one in self._members]

    def go(self) -> list[dict[str, Any]]:
        for member in self._members:
            assert member.stdin is not None
            member.stdin.write("go\n")
            member.stdin.flush()
        return [json.loads(self._line(number)) for number in range(len(self._members))]

    def _line(self, number: int) -> str:
        member = self._members[number]
        assert member.stdout is not None
        line = member.stdout.readline().strip()
        if not line:
            member.wait()
            self._messages[number].seek(0)
            end = self._messages[number].read().decode(errors="replace")[-3000:]
            raise RuntimeError(f"{self._name}: ended with {member.returncode}:\n{end}")
        return line

    def close(self) -> None:
        for member in self._members:
            assert member.stdin is not None
            member.stdin.close()
            try:
                member.wait(timeout=20)
            except subprocess.TimeoutExpired:
                member.kill()
                member.wait()
            assert member.stdout is not None
            member.stdout.close()
        for messages in self._messages:
            messages.close()


def cores_of(text: str) -> set[int]:
    """Return the cores that a text as ``"0"``, ``"0-1"`` or ``"0,2"`` names."""
    found: set[int] = set()
    for one in text.split(","):
        first, _, last = one.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def all_cores() -> str:
    """Return every core that this process may use, as :func:`cores_of` reads it."""
    return ",".join(map(str, sorted(os.sched_getaffinity(0))))


def environment() -> dict[str, str]:
    """Return what a worker needs to import this folder and the harness of this checkout."""
    paths = [str(ROOT), *(str(ROOT / one) for one in _SOURCES)]
    return {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this folder as a worker."""
    return [sys.executable, "-m", module, *arguments]
