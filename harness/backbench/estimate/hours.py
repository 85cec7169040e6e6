"""Duration of a plan on this machine: from records, else from one timing run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from backbench.estimate.cost import Costs
from backbench.estimate.timing import measure
from backbench.training.devices import Device


@dataclass(frozen=True, slots=True)
class Work:
    """The stages of a sort that are still to run, ``images`` of them shown in trainings.

    The name is that of the method, else of the kind and plugin. ``seconds`` are those of all stages
    in one worker, or ``None``; ``how`` is their source, or why they are not known.
    """

    name: str
    stages: int
    images: int
    seconds: float | None
    how: str


@dataclass(frozen=True, slots=True)
class Hours:
    """Duration of the stages that are still to run, ``workers`` of them at a time."""

    works: tuple[Work, ...]
    workers: int

    @property
    def total(self) -> float:
        """Hours of all that is known, on all workers."""
        return sum(work.seconds or 0.0 for work in self.works) / 3600 / self.workers

    @property
    def left_out(self) -> tuple[str, ...]:
        """The parts that are not known, and so not in the total."""
        return tuple(dict.fromkeys(work.name for work in self.works if work.seconds is None))

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"total": self.total, "left_out": self.left_out, **asdict(self)}


def hours_of(costs: Costs, workers: Sequence[Device], *, tell: Callable[[str], None]) -> Hours:
    """Estimate how long the stages take that are still to run; report each timing run."""
    sorts: dict[str, list[str]] = {}
    for key in costs.stages:
        sorts.setdefault(costs.sorts[key], []).append(key)
    device = workers[0].device.partition(":")[0]
    recorded = {
        sort: walls
        for sort, seen in costs.seen.items()
        if sort in sorts and (walls := seen.seconds(device))
    }
    wanted = {
        sort: costs.trainings[keys[0]]
        for sort, keys in sorts.items()
        if keys[0] in costs.trainings and sort not in recorded
    }
    measured = dict(zip(wanted, measure(list(wanted.values()), workers, tell), strict=True))
    works = []
    for sort, keys in sorts.items():
        stage, training = costs.stages[keys[0]], costs.trainings.get(keys[0])
        images = sum(costs.trainings[key].images_shown for key in keys) if training else 0
        seconds: float | None = None
        if sort in recorded:
            found = recorded[sort]
            seconds = (images or len(keys)) * statistics.fmean(found)
            how = f"{len(found)} record{'' if len(found) == 1 else 's'} of this store"
        elif sort not in measured:
            how = "no record of this store"
        else:
            timing = measured[sort]
            how = timing.how
            seconds = images / timing.images_per_s if timing.images_per_s else None
        plugin = stage.plugin.name if stage.plugin else ""
        name = training.name if training else f"{stage.kind} {plugin}".strip()
        works.append(Work(name, len(keys), images, seconds, how))
    return Hours(tuple(works), len(workers))
