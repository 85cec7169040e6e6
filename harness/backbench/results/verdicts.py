"""Verdicts on encoders, against whether an attack made them: pure functions.

Each encoder counts once, in however many cells it is inspected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbench.model import NONE, CellName, Origin, Plan, StageKind
from backbench.results.detection import auroc, average_precision
from backbench.results.quantiles import normal_quantile
from backbench.results.statistics import CONFIDENCE, Summary
from backbench.store.metadata import InspectRecord
from backbench.store.records import Record

#: Name of a group that is not of a single method, or not of a single attack.
ALL = "all"


@dataclass(frozen=True, slots=True)
class Judged:
    """An encoder and the verdict on it.

    Args:
        dataset: Dataset that it was trained on.
        method: SSL method.
        attack: Attack that made it; ``none`` for a clean encoder.
        defense: Defense, or chain of defenses, in which it was inspected.
        seed: Seed.
        record: Record of the inspection.
    """

    dataset: str
    method: str
    attack: str
    defense: str
    seed: int
    record: Record

    @property
    def verdict(self) -> InspectRecord:
        """The verdict."""
        return self.record.of(InspectRecord)

    @property
    def attacked(self) -> bool:
        """True of an encoder that an attack made."""
        return self.attack != NONE


@dataclass(frozen=True, slots=True)
class Group:
    """Encoders on which a defense's verdicts are scored together."""

    dataset: str
    defense: str
    method: str
    attack: str
    encoders: tuple[Judged, ...]


def judged(plan: Plan, record_of: Callable[[str], Record | None]) -> tuple[Judged, ...]:
    """Return each inspected encoder of a plan once, with the verdict on it, in the plan's order.

    Args:
        plan: The plan. The encoder of a cell with an attack is attacked, that of its control and of
            a cell without an attack is clean; an encoder of a zoo is what its card states. Of an
            encoder from elsewhere the verdict of the first seed counts.
        record_of: Gives a record; an inspection that it does not know is left out.
    """
    found: dict[tuple[str, ...], Judged] = {}
    # An external encoder may be that of cells with and without an attack: the attack comes first.
    for cell in sorted(plan.cells, key=lambda one: one.name.attack == NONE):
        for detection in cell.detections:
            if plan.stages[detection.key].kind is StageKind.INSPECT:
                for key, attack in ((detection.key, cell.name.attack), (detection.control, NONE)):
                    record = None if key is None else record_of(key)
                    if record is not None and key is not None:
                        inputs = plan.stages[key].inputs
                        read = inputs.get("encoder", "")
                        one = _judged(cell.name, attack, record, plan.origins.get(read))
                        # An encoder from elsewhere is the same one for all seeds.
                        same = read in plan.stages and plan.stages[read].kind is StageKind.IMPORT
                        which = (read, inputs.get("dataset", "")) if same else (record.key,)
                        found.setdefault((*which, cell.name.defense), one)
    return tuple(found.values())


def _judged(name: CellName, attack: str, record: Record, origin: Origin | None) -> Judged:
    method, seed = name.method, name.seed
    if origin is not None:
        method, attack, seed = origin.method, origin.attack, origin.seed
    return Judged(name.dataset, method, attack, name.defense, seed, record)


def groups(encoders: Iterable[Judged]) -> Iterator[Group]:
    """Yield the groups of a defense: all its encoders, those of each method, attack and of both.

    The clean encoders of a method belong to the groups of all its attacks.
    """
    by_defense: dict[tuple[str, str], list[Judged]] = {}
    for one in encoders:
        by_defense.setdefault((one.dataset, one.defense), []).append(one)
    for (dataset, defense), members in by_defense.items():
        methods = _choices(one.method for one in members)
        attacks = _choices(one.attack for one in members if one.attacked)
        for method in methods:
            for attack in attacks:
                chosen = tuple(
                    one
                    for one in members
                    if method in {ALL, one.method}
                    and (not one.attacked or attack in {ALL, one.attack})
                )
                yield Group(dataset, defense, method, attack, chosen)


def _choices(names: Iterable[str]) -> list[str]:
    """Return distinct names, with that of all of them first if there are several."""
    distinct = list(dict.fromkeys(names))
    return distinct if len(distinct) == 1 else [ALL, *distinct]


def scored(encoders: Sequence[Judged]) -> dict[str, Summary]:
    """Score verdicts: a mean over encoders with its 95 % interval, by the metric's name.

    Returns:
        ``verdict/attacked`` and ``verdict/clean``, the numbers of encoders; ``verdict/accuracy``,
        ``verdict/tpr`` and ``verdict/fpr`` at the method's own threshold, a score of 0, with
        Wilson's interval; ``verdict/auroc`` with :func:`auroc_interval` and
        ``verdict/average_precision`` of the scores. What needs attacked or clean encoders that are
        not there is left out.
    """
    scores = np.array([one.verdict.score for one in encoders], dtype=np.float64)
    attacked = np.array([one.attacked for one in encoders], dtype=bool)
    accused = scores > 0
    positives, negatives = int(attacked.sum()), int((~attacked).sum())
    found = {"attacked": _count(positives), "clean": _count(negatives)}
    if len(scores):
        found["accuracy"] = _share(accused == attacked)
    if positives:
        found["tpr"] = _share(accused[attacked])
    if negatives:
        found["fpr"] = _share(accused[~attacked])
    if positives and negatives:
        area, n = auroc(scores, attacked), len(scores)
        ends = auroc_interval(area, positives, negatives)
        found["auroc"] = Summary(n, area, None, ends, (area,))
        precision = average_precision(scores, attacked)
        found["average_precision"] = Summary(n, precision, None, None, (precision,))
    return {f"verdict/{name}": summary for name, summary in found.items()}


def _count(number: int) -> Summary:
    return Summary(number, float(number), None, None, (float(number),))


def _share(hits: NDArray[np.bool_]) -> Summary:
    values = tuple(float(one) for one in hits)
    mean = sum(values) / len(values)
    return Summary(len(values), mean, None, wilson(int(hits.sum()), len(values)), values)


def wilson(hits: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of a share of n independent outcomes.

    Source: Wilson 1927, the score interval.
    """
    z, share = normal_quantile((1 + confidence) / 2), hits / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, center - half), min(1.0, center + half)


def auroc_interval(
    area: float, positives: int, negatives: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval of an AUROC: all values that a test with their own variance keeps.

    So it has a width where all encoders are separated, as a share's interval by Wilson has.

    Source: the variance of Hanley and McNeil 1982, of exponential scores; the values that its test
        keeps, as Newcombe 2006 inverts it (Statistics in Medicine 25, 559-573).
    Differs: Newcombe replaces both numbers in the variance's brackets by their mean.
    """
    low = _lower_end(area, positives, negatives, confidence)
    return low, 1 - _lower_end(1 - area, negatives, positives, confidence)


def _lower_end(area: float, positives: int, negatives: int, confidence: float) -> float:
    z, low, high = normal_quantile((1 + confidence) / 2), 0.0, area
    for _ in range(60):  # halves: to the last bit
        middle = (low + high) / 2
        far = area - middle > z * math.sqrt(auroc_variance(middle, positives, negatives))
        low, high = (middle, high) if far else (low, middle)
    return high


def auroc_variance(area: float, positives: int, negatives: int) -> float:
    """Return the variance of an AUROC, of so many positives and negatives.

    Source: Hanley and McNeil 1982, The meaning and use of the area under a ROC curve, eq. 1 and 2.
    """
    two_positives, two_negatives = area / (2 - area), 2 * area**2 / (1 + area)
    total = area * (1 - area)
    total += (positives - 1) * (two_positives - area**2)
    total += (negatives - 1) * (two_negatives - area**2)
    return max(0.0, total) / (positives * negatives)
