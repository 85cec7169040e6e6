"""How long a benchmark's trainings take on this machine: from records, else from a short trial."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backbench.errors import BackbenchError
from backbench.estimate.cost import Costs, Training, amount, in_bytes
from backbench.estimate.timing import Speed, checkpoint_bytes, try_out
from backbench.plugin.registry import Registry
from backbench.store import provenance
from backbench.store.records import Record
from backbench.store.store import Store

if TYPE_CHECKING:
    from rich.console import Console

LEFT_OUT = (
    "left out of the hours: reading datasets, stamping, features and evaluators, and, in a trial, "
    "the k-NN checks; a trial's images are made ones"
)


@dataclass(frozen=True, slots=True)
class Work:
    """The trainings of one sort: the same method, options, backbone and size of images.

    Args:
        name: The plugin that trains.
        trainings: They.
        speed: How fast they are; ``None`` if that could not be measured.
        checkpoint: Bytes of the state of one while it trains; ``None`` if that is not known.
        problem: Why it could not be measured.
    """

    name: str
    trainings: tuple[Training, ...]
    speed: Speed | None
    checkpoint: int | None
    problem: str = ""

    @property
    def images(self) -> int:
        """Images shown in all."""
        return sum(one.images_shown for one in self.trainings)

    @property
    def hours(self) -> float:
        """Hours, one training at a time; ``nan`` if the speed is not known."""
        return self.images / self.speed.images_per_s / 3600 if self.speed else math.nan


@dataclass(frozen=True, slots=True)
class Hours:
    """What is still to train, and how long that takes."""

    works: tuple[Work, ...]

    @property
    def total(self) -> float:
        """Hours of all that is known, one training at a time."""
        return math.fsum(work.hours for work in self.works if work.speed)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "total": self.total,
            "trainings": [
                {
                    "name": work.name,
                    "trainings": len(work.trainings),
                    "images": work.images,
                    "hours": work.hours if work.speed else None,
                    "images_per_s": work.speed.images_per_s if work.speed else None,
                    "spread": work.speed.spread if work.speed else None,
                    "device": work.speed.where if work.speed else None,
                    "how": f"{work.speed.how}{work.speed.detail}" if work.speed else work.problem,
                    "checkpoint_bytes": work.checkpoint,
                }
                for work in self.works
            ],
            "left_out": LEFT_OUT,
        }


def hours_of(
    costs: Costs, store: Store, registry: Registry, device: str, *, tell: Callable[[str], None]
) -> Hours:
    """Estimate how long the trainings that are still to run take on this machine.

    Args:
        costs: What there is to train.
        store: Its records of the same trainings on this machine are used, if there are any.
        registry: The installed plugins.
        device: Name of the torch device, or ``auto``.
        tell: Called with a line before each trial.
    """
    from backbench.training.device import resolve_device

    where = resolve_device(device)
    done = store.done()
    sorts: dict[str, list[Training]] = {}
    for key, training in costs.trainings.items():
        if key not in done:
            sorts.setdefault(_sort(training), []).append(training)
    seen = _seen(costs, store, done, where)
    works = []
    for sort, trainings in sorts.items():
        first = trainings[0]
        speed, problem = None, ""
        if sort in seen:
            speed = _recorded(seen[sort], where)
        else:
            tell(f"measuring {first.name} …")
            try:
                speed = try_out(first, registry, where)
            except (BackbenchError, RuntimeError, MemoryError) as error:
                reason = str(error).partition("\n")[0] or type(error).__name__
                problem = f"could not be measured: {reason}"
        size = checkpoint_bytes(first, registry)
        works.append(Work(first.name, tuple(trainings), speed, size, problem))
    return Hours(tuple(works))


def _sort(training: Training) -> str:
    """Name what decides how long an image takes."""
    options = training.options.identity()
    for name in ("epochs", "clean_fraction", "schedule"):
        options.pop(name, None)
    parts = (
        training.name,
        options,
        training.backbone.identity(),
        training.side,
        training.metadata.size,
    )
    return json.dumps(parts, sort_keys=True)


# -- from records ------------------------------------------------------------------------------


def _seen(costs: Costs, store: Store, done: Collection[str], device: str) -> dict[str, list[float]]:
    """Return the images a second of the plan's trainings that this machine has done, by sort."""
    found: dict[str, list[float]] = {}
    for key, training in costs.trainings.items():
        record = store.record(key) if key in done else None
        if record is not None and _made_here(record, device):
            found.setdefault(_sort(training), []).append(training.images_shown / record.wall_s)
    return found


def _made_here(record: Record, device: str) -> bool:
    made = record.provenance
    here = made.get("device") == device and made.get("processor") == provenance.processor()
    whole = not record.resumed  # or the seconds are those of the last epochs alone
    return here and whole and record.wall_s > 0


def _recorded(speeds: list[float], device: str) -> Speed:
    spread = statistics.stdev(speeds) if len(speeds) > 1 else None
    plural = "s" if len(speeds) > 1 else ""
    how = f"{len(speeds)} record{plural} of this store"
    return Speed(statistics.fmean(speeds), spread, device, how)


# -- on paper ----------------------------------------------------------------------------------


def print_hours(hours: Hours, console: Console) -> None:
    """Print a line for each sort of training, and their sum."""
    for work in hours.works:
        line = work.problem
        if work.speed is not None:
            speed = work.speed
            spread = "" if speed.spread is None else f" ±{_short(speed.spread)}"
            line = (
                f"{speed.how}: {_short(speed.images_per_s)}{spread} images/s on {speed.where}"
                f"{speed.detail}; {amount(work.images)} images: {in_hours(work.hours)}"
            )
        console.print(f"{work.name}: {line}", soft_wrap=True, markup=False, highlight=False)
    if hours.works:
        console.print(
            f"[bold]on this machine, one training at a time: about {in_hours(hours.total)}[/]",
            soft_wrap=True,
            highlight=False,
        )
        sizes = {work.name: work.checkpoint for work in hours.works if work.checkpoint}
        if sizes:
            kept = ", ".join(f"{name} {in_bytes(size)}" for name, size in sizes.items())
            console.print(f"checkpoint of a training, gone when it is done: {kept}", soft_wrap=True)
        console.print(LEFT_OUT, style="dim", soft_wrap=True)


def in_hours(hours: float) -> str:
    """Format hours: ``4 min``, ``2.3 h``, ``1,250 h``."""
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 10 else f"{hours:,.0f} h"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"
