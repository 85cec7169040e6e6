"""Claims judged by the numbers. Pure.

For each seed, and image by image where both numbers are of the same images, what is judged is

    d = metric of the subject − factor × metric of what it is compared with − margin

which is linear, so that a ratio ("four times the control") needs no division by a control that may
be zero. The interval of the mean of d is that of ``show`` and ``compare``: the claim holds where
the whole interval lies on the claimed side of zero, and fails where it lies on the other side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from backbench.benchmark.claims import CONTROL, counterpart
from backbench.benchmark.file import Claim
from backbench.model import Cell, CellName
from backbench.results.leaderboard import Leaderboard, Row
from backbench.results.statistics import Sample, interval_of, on_seeds, paired, shifted


class Verdict(StrEnum):
    """Result of a claim's check against the numbers."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim on the cells of one row of the leaderboard, on the seeds that have both numbers.

    ``subject`` and ``against`` are means of the metrics before factor and margin, ``difference``
    that of subject − factor × against − margin, with its interval from two seeds on. They are
    ``None`` where no seed has both. The benchmark has ``planned`` seeds.
    """

    names: Mapping[str, str]
    seeds: tuple[int, ...]
    planned: int
    subject: float | None
    against: float | None
    difference: float | None
    interval: tuple[float, float] | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """A claim, and a finding for each row that it is about."""

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


def cells_of(claim: Claim, cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells that a claim is about, and those that they are compared with."""
    about = {cell.name for cell in cells if claim.subject.holds(cell.name)}
    others = {counterpart(claim.against, name) for name in about}
    return [cell for cell in cells if cell.name in about or cell.name in others]


def judge(claim: Claim, cells: Sequence[Cell], board: Leaderboard) -> Judgement:
    """Judge a claim by a leaderboard, whose outdated rows do not count."""
    rows = {tuple(row.names.values()): row for row in board.rows if not row.outdated}
    groups: dict[tuple[str, ...], list[CellName]] = {}
    for cell in cells:
        if claim.subject.holds(cell.name):
            groups.setdefault(tuple(cell.name.row.values()), []).append(cell.name)
    return Judgement(claim, tuple(_finding(claim, names, rows) for names in groups.values()))


def _finding(
    claim: Claim, cells: Sequence[CellName], rows: Mapping[tuple[str, ...], Row]
) -> Finding:
    """Judge a claim on one row, whose cells are given, a cell for each seed."""
    names, planned = cells[0].row, len(cells)
    metric, _, variant = claim.metric.partition("@")

    def sample(name: CellName | None, *, control: bool = False) -> Sample | None:
        row = rows.get(_names(name, variant)) if name is not None else None
        samples = row and (row.control_samples if control else row.samples)
        return samples.get(metric) if samples else None

    nothing = Finding(names, (), planned, None, None, None, None, Verdict.UNDECIDED)
    own = sample(cells[0])
    if own is None:
        return nothing
    own = on_seeds(own, [seed for seed in own.seeds if seed in {cell.seed for cell in cells}])
    if isinstance(claim.against, float):
        other, difference = None, shifted(own, -claim.factor * claim.against)
    else:
        is_control = claim.against == CONTROL
        beside = cells[0] if is_control else counterpart(claim.against, cells[0])
        other = sample(beside, control=is_control)
        if other is None:
            return nothing
        if beside is not None and beside.evaluated != cells[0].evaluated:
            other = replace(other, hits=None)  # the same positions are other images
        difference = paired(own, other, claim.factor)
    seeds = difference.seeds
    if not seeds:
        return nothing
    difference = shifted(difference, -claim.margin)
    ends = interval_of(difference, claim.confidence)
    verdict = Verdict.UNDECIDED
    if ends is not None and len(seeds) == planned:  # a look at a part of the seeds decides nothing
        verdict = decide(claim.relation, *ends)
    return Finding(
        names=names,
        seeds=seeds,
        planned=planned,
        subject=on_seeds(own, seeds).mean,
        against=on_seeds(other, seeds).mean if other else float(claim.against),
        difference=difference.mean,
        interval=ends,
        verdict=verdict,
    )


def _names(cell: CellName, variant: str) -> tuple[str, ...]:
    """Return the names of a cell's row, of a variant of its evaluator if there are several."""
    row = cell.row
    if variant:
        row["evaluator"] = f"{row['evaluator']}:{variant}"
    return tuple(row.values())


def decide(relation: str, low: float, high: float) -> Verdict:
    """Judge by the ends of the interval of subject − factor × against − margin."""
    if relation in {"<", "<="}:
        low, high = -high, -low
    equal_will_do = relation in {">=", "<="}
    if low > 0 or (equal_will_do and low >= 0):
        return Verdict.HOLDS
    if high < 0 or (not equal_will_do and high <= 0):
        return Verdict.FAILS
    return Verdict.UNDECIDED
