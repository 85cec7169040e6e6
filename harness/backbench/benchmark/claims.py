"""Findings as claims on the numbers: checked before a run, judged after it. Pure.

A claim says ``metric relation factor × against + margin``. For each seed, what is judged is

    d = metric of the subject − factor × metric of what it is compared with − margin

which is linear, so that a ratio ("four times the control") needs no division by a control that may
be zero. Over seeds, Student's interval of the mean of d decides: the claim holds where the whole
interval lies on the claimed side of zero, it fails where the whole of it lies on the other side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from backbench.benchmark.file import BenchmarkFile, Claim
from backbench.errors import Problem
from backbench.metrics import NAMES
from backbench.model import NONE, Axis, Cell, CellName
from backbench.plugin.registry import suggestion

#: Compared with the clean encoder under the same trigger.
CONTROL: Final = "control"

#: Compared with the same without attack.
CLEAN: Final = "clean"

#: Metrics that cells without an attack have.
_WITHOUT_ATTACK: Final = frozenset({"accuracy/clean"})


class Verdict(StrEnum):
    """What the numbers say of a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim on the cells of one row of the leaderboard.

    Args:
        names: Instance names, by field.
        seeds: Seeds that have both numbers.
        planned: Number of seeds that the benchmark asks for.
        subject: Mean of the metric; ``None`` where no seed has both numbers.
        against: Mean of what it is compared with, before factor and margin.
        difference: Mean of subject − factor × against − margin.
        half: Half the width of the difference's interval; ``None`` for fewer than two seeds.
        verdict: What it comes to.
    """

    names: Mapping[str, str]
    seeds: tuple[int, ...]
    planned: int
    subject: float | None
    against: float | None
    difference: float | None
    half: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the numbers say of a claim.

    Args:
        claim: The claim.
        findings: One for each row that it is about.
    """

    claim: Claim
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """It holds if it does for every row, and fails if it does for one."""
        return overall(finding.verdict for finding in self.findings)


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Return *fails* if one fails, *holds* if all hold, else *undecided*."""
    found = set(verdicts)
    if Verdict.FAILS in found:
        return Verdict.FAILS
    return Verdict.HOLDS if found == {Verdict.HOLDS} else Verdict.UNDECIDED


# -- before a run ------------------------------------------------------------------------------


def claim_problems(
    content: BenchmarkFile, metrics: Iterable[str], *, matrix_is_right: bool = True
) -> Iterator[Problem]:
    """Yield what is wrong with the claims of a benchmark file.

    Args:
        content: The file's tables.
        metrics: Names of the metrics of plugins.
        matrix_is_right: Whether the cells that claims are about can be looked for.
    """
    cells: dict[CellName, None] = {}
    for matrix in content.matrix if matrix_is_right and content.claims else ():
        cells.update(dict.fromkeys(matrix.cells(content.benchmark.seeds)))
    known = [*sorted(NAMES), *metrics]
    for index, claim in enumerate(content.claims):
        path = f"claims.{index}"
        plain = claim.metric.partition("@")[0]
        if plain not in known:
            hint = suggestion(plain, known)
            yield Problem(f"{path}.metric", f"no metric is called {plain!r}{hint}")
        sentence = _against_problem(claim.against)
        if sentence:
            yield Problem(f"{path}.against", sentence)
        elif matrix_is_right:
            yield from _cell_problems(claim, cells, path)


def _against_problem(against: str | float) -> str:
    if isinstance(against, float) or against in {CONTROL, CLEAN}:
        return ""
    for part in against.split(","):
        field, sign, name = (one.strip() for one in part.partition("="))
        if not sign:
            return (
                f"should be 'control', 'clean', FIELD=NAME or a number (given: {against!r})"
                f"{suggestion(against, (CONTROL, CLEAN))}"
            )
        if field not in list(Axis):
            return f"no field is called {field!r}{suggestion(field, [*map(str, Axis)])}"
        if not name:
            return f"{field}= names nothing"
    return ""


def _cell_problems(claim: Claim, cells: Mapping[CellName, None], path: str) -> Iterator[Problem]:
    about = [cell for cell in cells if claim.subject.holds(cell)]
    if not about:
        yield Problem(f"{path}.subject", "no [[matrix]] has such a cell")
        return
    needs_attack = claim.metric in NAMES - _WITHOUT_ATTACK
    if any(cell.attack == NONE for cell in about):
        if claim.against == CONTROL:
            yield Problem(f"{path}.subject", "cells without an attack have no control: say attacks")
        elif needs_attack:
            yield Problem(f"{path}.subject", f"cells without an attack have no {claim.metric}")
        return
    for cell in about:
        other = counterpart(claim.against, cell)
        if other is None:
            return
        if other == cell:
            sentence = f"{claim.against!r} is the subject itself, for {_called(cell)}"
        elif other not in cells:
            sentence = f"no [[matrix]] has {_called(other)}"
        elif other.attack == NONE and needs_attack:
            sentence = f"cells without an attack have no {claim.metric}: is 'control' meant?"
        else:
            continue
        yield Problem(f"{path}.against", sentence)
        return


def counterpart(against: str | float, cell: CellName) -> CellName | None:
    """Return the cell that another is compared with; ``None`` for a control or a number."""
    if isinstance(against, float) or against == CONTROL:
        return None
    parts = f"attack={NONE}" if against == CLEAN else against
    named = (part.partition("=") for part in parts.split(","))
    changes: dict[str, Any] = {field.strip(): name.strip() for field, _, name in named}
    return replace(cell, **changes)


def _called(cell: CellName) -> str:
    return " · ".join([*cell.row.values(), f"seed {cell.seed}"])


# -- after a run -------------------------------------------------------------------------------

Metrics = Callable[[str], Mapping[str, float] | None]


def judge(claim: Claim, cells: Sequence[Cell], metrics_of: Metrics) -> Judgement:
    """Judge a claim.

    Args:
        claim: The claim.
        cells: The cells of the benchmark.
        metrics_of: Gives the metrics of an evaluation by its key; ``None`` if it is missing.
    """
    by_name = {cell.name: cell for cell in cells}
    rows: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        if claim.subject.holds(cell.name):
            names = tuple(cell.name.row.values())
            rows.setdefault(names, []).append(cell)
    findings = []
    for row in rows.values():
        pairs = {}
        for cell in sorted(row, key=lambda cell: cell.name.seed):
            own = _value(claim.metric, cell.evaluation, metrics_of)
            other = _compared_with(claim, cell, by_name, metrics_of)
            if own is not None and other is not None:
                pairs[cell.name.seed] = own, other
        findings.append(_finding(claim, row[0].name.row, pairs, len(row)))
    return Judgement(claim, tuple(findings))


def _compared_with(
    claim: Claim, cell: Cell, by_name: Mapping[CellName, Cell], metrics_of: Metrics
) -> float | None:
    if isinstance(claim.against, float):
        return claim.against
    other = counterpart(claim.against, cell.name)
    if other is None:
        return _value(claim.metric, cell.control, metrics_of)
    found = by_name.get(other)
    return _value(claim.metric, found.evaluation if found is not None else None, metrics_of)


def _value(metric: str, key: str | None, metrics_of: Metrics) -> float | None:
    found = metrics_of(key) if key is not None else None
    return found.get(metric) if found is not None else None


def _finding(
    claim: Claim, names: Mapping[str, str], pairs: Mapping[int, tuple[float, float]], planned: int
) -> Finding:
    n = len(pairs)
    if n == 0:
        return Finding(names, (), planned, None, None, None, None, Verdict.UNDECIDED)
    differences = [own - claim.factor * other - claim.margin for own, other in pairs.values()]
    mean = math.fsum(differences) / n
    half = half_width(differences, claim.confidence)
    verdict = Verdict.UNDECIDED
    if half is not None and n == planned:  # a look at a part of the seeds decides nothing
        verdict = decide(claim.relation, mean - half, mean + half)
    return Finding(
        names=names,
        seeds=tuple(pairs),
        planned=planned,
        subject=math.fsum(own for own, _ in pairs.values()) / n,
        against=math.fsum(other for _, other in pairs.values()) / n,
        difference=mean,
        half=half,
        verdict=verdict,
    )


def half_width(values: Sequence[float], confidence: float) -> float | None:
    """Return half the width of Student's interval of the mean; ``None`` for fewer than two values.

    Args:
        values: What was measured, (n,).
        confidence: Of the two-sided interval, in (0, 1).
    """
    n = len(values)
    if n < 2:
        return None
    from scipy.special import stdtrit  # late: only verdicts need it

    mean = math.fsum(values) / n
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return float(stdtrit(n - 1, 0.5 + confidence / 2)) * std / math.sqrt(n)


def decide(relation: str, low: float, high: float) -> Verdict:
    """Judge by the interval of subject − factor × against − margin.

    Args:
        relation: ``>``, ``<``, ``>=`` or ``<=``.
        low: Its lower end.
        high: Its upper end.
    """
    if relation in {"<", "<="}:
        low, high = -high, -low
    equal_will_do = relation in {">=", "<="}
    if low > 0 or (equal_will_do and low >= 0):
        return Verdict.HOLDS
    if high < 0 or (not equal_will_do and high <= 0):
        return Verdict.FAILS
    return Verdict.UNDECIDED
