"""The trigger in the views of each method, for every pair of attack and method. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from backbench.benchmark.config import Benchmark
from backbench.benchmark.instances import Instance
from backbench.estimate.cost import USUAL_SIZE
from backbench.model import NONE
from backbench.options.training import ViewTrainingOptions
from backbench.options.views import ViewOptions
from backbench.plugin import Attack, Box, DatasetMetadata
from backbench.seeds import derive
from backbench.views.visibility import LEAST_BOTH, Visibility, covers_all, visibility, warning

#: Poisons that the estimate is made of: a share's standard error is at most .008.
POISONS: Final = 4000

#: The same, if the shares are not shown: near .01, where there is a warning, it is .003.
QUICK: Final = 1000

#: Poisons that come first. They are the first of the others: where the trigger is in both views of
#: so many of these that there is no warning, there is none of all.
FIRST: Final = 200

NOTE: Final = (
    f"trigger visibility: share of {POISONS} view pairs in which at least half of the "
    "trigger's area lies within both crops, one, none; blur, colors and resizing are not counted"
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimate of how visible one attack's trigger stays in one method's views.

    ``shares`` is ``None`` without an estimate; ``why`` is the reason, or a warning.
    """

    dataset: str
    attack: str
    method: str
    shares: Visibility | None
    why: str = ""

    @property
    def where(self) -> str:
        """The attack, method and dataset, for people."""
        return f"{self.attack} · {self.method} · {self.dataset}"

    def __str__(self) -> str:
        if self.shares is None:
            return f"{self.where}: not estimated: {self.why}"
        text = ", ".join(f"{name} {share:.3f}" for name, share in self.shares._asdict().items())
        return f"{self.where}: {text}" + (f"; warning: {self.why}" if self.why else "")

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {**asdict(self), "shares": self.shares and self.shares._asdict()}


def warnings(benchmark: Benchmark) -> Iterator[str]:
    """Yield a sentence for every attack that cannot work, since its trigger is in too few views."""
    try:
        first = [one.shares.both for one in estimates(benchmark, FIRST) if one.shares is not None]
        if all(both * FIRST >= LEAST_BOTH * QUICK for both in first):
            return
        found = [one for one in estimates(benchmark, QUICK) if one.shares is not None and one.why]
    except Exception:  # noqa: BLE001 - an attack may raise any error; its stage reports it
        return
    yield from (f"{one.where}: {one.why}" for one in found)


def estimates(benchmark: Benchmark, poisons: int = POISONS) -> Iterator[Estimate]:
    """Yield an estimate for every dataset, attack and method that share a cell."""
    instances = benchmark.instances
    names = [(cell.dataset, cell.attack, cell.method) for cell in benchmark.cells]
    placed: dict[tuple[str, str], list[tuple[Box, ...]]] = {}
    for dataset, attack, method in dict.fromkeys(names):
        if attack == NONE or not _poisons(instances["attacks"][attack]):
            continue
        options = instances["methods"][method].options
        metadata = benchmark.metadata[dataset]
        if not isinstance(options, ViewTrainingOptions):
            yield Estimate(dataset, attack, method, None, "the method does not crop its views")
            continue
        if why := _unknown(instances["attacks"][attack]):
            yield Estimate(dataset, attack, method, None, why)
            continue
        key = dataset, attack
        if key not in placed:
            placed[key] = _places(instances["attacks"][attack], metadata, poisons)
        yield Estimate(dataset, attack, method, *_judged(options.views, metadata, placed[key]))


def _poisons(attack: Instance) -> bool:
    return getattr(attack.registered.info, "acts_on", "dataset") == "dataset"


def _unknown(attack: Instance) -> str:
    """Return why the place of an attack's trigger is not known yet; empty if it is known."""
    if getattr(attack.registered.info, "learns", False):
        return "the trigger has yet to be learned"
    if attack.registered.implementation().compose is not Attack.compose:
        return "the poisons have yet to be composed"
    return ""


def _places(attack: Instance, metadata: DatasetMetadata, poisons: int) -> list[tuple[Box, ...]]:
    """Return where an attack puts its trigger on so many poisons."""
    implementation: Attack = attack.registered.implementation()(attack.options, metadata)
    blank = np.zeros((*(metadata.size or USUAL_SIZE), 3), dtype=np.uint8)
    return [
        implementation.stamp(
            blank, np.random.default_rng(derive(0, "visibility", index)), "train"
        ).boxes
        for index in range(poisons)
    ]


def _judged(
    views: ViewOptions, metadata: DatasetMetadata, boxes: list[tuple[Box, ...]]
) -> tuple[Visibility | None, str]:
    """Return the shares, and a remark on them."""
    sizes = np.tile(np.asarray(metadata.size or USUAL_SIZE), (len(boxes), 1))
    if covers_all(sizes, boxes):
        return None, "the trigger covers the whole image, and crops leave it as it is"
    shares = visibility(views, sizes, boxes, derive(0, "visibility"))
    return shares, warning(shares)
