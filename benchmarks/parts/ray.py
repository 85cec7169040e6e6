"""The executor ``ray``: what a stage costs, how many it bears, what a second node brings.

The driver, the head of the cluster and its nodes share the cores of one machine. Each node has one
core, and its processes are pinned to it.
"""

from __future__ import annotations

import importlib.util
from typing import Any, Final

from benchmarks.rounds import ROOT, Contender, Measured, Spread, interleave, python
from benchmarks.rows import Absent, Found, Gate, Row, Settings

#: Its profile ``quick`` runs on one node and on two.
_FILE: Final = ROOT / "benchmarks.toml"

#: Rounds in which ten thousand stages run, and in which the matrix runs on one node and on two.
_LONG_ROUNDS: Final = 1
_MATRIX_ROUNDS: Final = 1


def rows(settings: Settings) -> list[Found]:
    """Measure."""
    if importlib.util.find_spec("ray") is None:
        return [Absent("stages on Ray", "–", 'pip install "backbench[ray]"')]
    return [_overhead(settings), *_ten_thousand(settings), _two_nodes(settings)]


def _measured(settings: Settings, rounds: int, *words: object) -> tuple[Measured, int]:
    """Time one contender; its processes end before the next one's begin.

    ``words`` are the executor, what it runs, how many of that, and the number of nodes.
    """
    executor, what, size, nodes = map(str, words)
    arguments = (what, executor, nodes, str(settings.scratch / "ray"), size)
    contender = Contender(executor, python("benchmarks.workers.ray_stages", *arguments))
    found = interleave([contender], min(rounds, settings.rounds), settings.repeats, settings.say)
    return found.of[executor], found.disturbed


def _said(measured: Measured, name: str) -> list[Any]:
    return [one[name] for turn in measured.answers for one in turn]


def _overhead(settings: Settings) -> Row:
    """Return the milliseconds of an empty stage of a thousand, in the steady state."""
    count = 1000
    ours, disturbed = _measured(settings, settings.rounds, "ray", "empty", count, 0)
    local, _ = _measured(settings, settings.rounds, "local", "empty", count, 0)
    here = Spread.of(_said(local, "each_ms"))
    return Row(
        stage=f"an empty stage on Ray, of {count:,}, two at a time",
        against="–",
        unit="ms",
        ours=Spread.of(_said(ours, "each_ms")),
        bar=50.0,
        at_most=True,
        gate=Gate("every stage has its record", set(_said(ours, "records")) == {count}),
        disturbed=disturbed,
        note=f"The executor `local` takes {here.median:.1f} ms ({here.low:.1f}-{here.high:.1f})",
    )


def _ten_thousand(settings: Settings) -> list[Row]:
    count = 10_000
    found, disturbed = _measured(settings, _LONG_ROUNDS, "ray", "empty", count, 0)
    gate = Gate("every stage has its record", set(_said(found, "records")) == {count})
    stage = f"{count:,} empty stages on Ray"
    return [
        Row(
            stage=f"{stage}: planned, scheduled, recorded",
            against="–",
            unit="min",
            ours=Spread.of([seconds / 60 for seconds in found.seconds]),
            bar=10.0,
            at_most=True,
            gate=gate,
            disturbed=disturbed,
            note=(
                "The graph of a real plan; start of the cluster included; the driver's processor "
                f"takes {_said(found, 'driver_ms')[0]:.1f} ms a stage"
            ),
        ),
        Row(
            stage=f"{stage}: memory of the driver",
            against="–",
            unit="MiB",
            ours=Spread.of(found.peak_mib),
            bar=1024.0,
            at_most=True,
            gate=gate,
            disturbed=disturbed,
            note="The highest resident set of the process of the run",
        ),
    ]


def _two_nodes(settings: Settings) -> Row:
    one, first = _measured(settings, _MATRIX_ROUNDS, "ray", "quick", _FILE, 1)
    two, second = _measured(settings, _MATRIX_ROUNDS, "ray", "quick", _FILE, 2)
    pairs = zip(sorted(one.seconds), sorted(two.seconds), strict=True)
    same = len({*_said(one, "predictions"), *_said(two, "predictions")}) == 1
    return Row(
        stage="profile quick on two Ray nodes of one core each, against one node",
        against="–",
        unit="×",
        ours=Spread.of([alone / both for alone, both in pairs]),
        bar=1.7,
        gate=Gate("the bytes of all predictions are equal", same),
        disturbed=first + second,
        note=(
            f"{_said(one, 'stages')[0]} stages; {Spread.of(one.seconds).median:.0f} s and "
            f"{Spread.of(two.seconds).median:.0f} s. Head and driver share the two cores"
        ),
    )
