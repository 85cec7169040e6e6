"""The trigger in the views of each method, for every pair of attack and method. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from backbench.config import Benchmark, Instance
from backbench.model import NONE
from backbench.plugin import Attack, Box, DatasetFacts
from backbench.report.cost import USUAL_SIZE
from backbench.runtime.survival import LEAST_BOTH, Survival, survival
from backbench.seeds import derive
from backbench.training_options import ViewOptions

#: Poisons that the estimate is made of: a share's standard error is at most .008.
POISONS: Final = 4000

NOTE: Final = (
    f"trigger survival: share of {POISONS} view pairs in which at least half of the trigger's area "
    "lies within both crops, one, none; blur, colours and resizing are not counted"
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What becomes of one attack's trigger in one method's views.

    Args:
        dataset: Name of the data set.
        attack: Name of the attack.
        method: Name of the method.
        shares: ``None`` where there is no estimate.
        why: Why not, or what there is to warn of; empty if nothing.
    """

    dataset: str
    attack: str
    method: str
    shares: Survival | None
    why: str = ""

    def __str__(self) -> str:
        where = f"{self.attack} · {self.method} · {self.dataset}"
        if self.shares is None:
            return f"{where}: not estimated: {self.why}"
        text = ", ".join(f"{name} {share:.3f}" for name, share in self.shares._asdict().items())
        return f"{where}: {text}" + (f"; warning: {self.why}" if self.why else "")

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "dataset": self.dataset,
            "attack": self.attack,
            "method": self.method,
            "shares": self.shares and self.shares._asdict(),
            "why": self.why,
        }


def estimates(benchmark: Benchmark) -> Iterator[Estimate]:
    """Yield an estimate for every data set, attack and method that share a cell.

    Args:
        benchmark: The benchmark.
    """
    instances = benchmark.instances
    names = [(cell.dataset, cell.attack, cell.method) for cell in benchmark.cells]
    placed: dict[tuple[str, str], list[tuple[Box, ...]]] = {}
    for dataset, attack, method in dict.fromkeys(names):
        if attack == NONE:
            continue
        views = getattr(instances["methods"][method].options, "views", None)
        facts = benchmark.facts[dataset]
        if not isinstance(views, ViewOptions):
            yield Estimate(dataset, attack, method, None, "the method does not crop its views")
            continue
        key = dataset, attack
        if key not in placed:
            placed[key] = _places(instances["attacks"][attack], facts)
        yield Estimate(dataset, attack, method, *_judged(views, facts, placed[key]))


def _places(attack: Instance, facts: DatasetFacts) -> list[tuple[Box, ...]]:
    """Return where an attack puts its trigger on so many poisons."""
    implementation: Attack = attack.registered.implementation()(attack.options, facts)
    blank = np.zeros((*(facts.size or USUAL_SIZE), 3), dtype=np.uint8)
    return [
        implementation.stamp(
            blank, np.random.default_rng(derive(0, "survival", index)), "train"
        ).boxes
        for index in range(POISONS)
    ]


def _judged(
    views: ViewOptions, facts: DatasetFacts, boxes: list[tuple[Box, ...]]
) -> tuple[Survival | None, str]:
    """Return the shares, and what there is to say of them."""
    high, wide = facts.size or USUAL_SIZE
    if all((box.width, box.height) == (wide, high) for one in boxes for box in one):
        return None, "the trigger covers the whole picture, and crops leave it as it is"
    shares = survival(views, np.tile((high, wide), (len(boxes), 1)), boxes, derive(0, "survival"))
    if shares.both >= LEAST_BOTH:
        return shares, ""
    return shares, (
        f"the trigger is in both views of {100 * shares.both:.1f} % of the pairs: an attack by "
        "pairs of views cannot work; make the trigger larger, or the crops (views.scale)"
    )
