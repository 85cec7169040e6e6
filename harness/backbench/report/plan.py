"""A plan as a table or as JSON: cells, stages, what is cached, what the rest costs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from rich.filesize import decimal

from backbench.errors import counted
from backbench.estimate.cost import Costs
from backbench.model import Plan, StageKind
from backbench.plugin.executor import Setup, devices_of
from backbench.report.grid import as_text, plain_grid
from backbench.store.store import Store
from backbench.system.cores import core_count
from backbench.system.json_text import to_json
from backbench.training.devices import may_have_gpu

if TYPE_CHECKING:
    from backbench.estimate.hours import Hours
    from backbench.estimate.visibility import Estimate
    from backbench.execution.simulation import Schedule

STEP_NOTE: Final = (
    "image-step: one image, or tile of an image, forward through one network once, while "
    "training: images × epochs × passes"
)


def measured_hours(costs: Costs, store: Store, device: str, jobs: int | None) -> Hours:
    """Train each method for some seconds, where no record shows how fast it is."""
    from backbench.estimate.hours import hours_of
    from backbench.execution.local import LocalExecutor

    def tell(line: str) -> None:
        print(line, file=sys.stderr)  # noqa: T201 - it takes a while

    setup = Setup(store=store.root, device=device, jobs=jobs)
    return hours_of(costs, LocalExecutor(None, setup).workers, tell=tell)


def plan_text(
    plan: Plan,
    costs: Costs,
    done: set[str],
    style: str,
    *,
    visibility: Sequence[Estimate] | None,
    hours: Hours | None,
    schedule: Schedule | None = None,
    list_stages: bool,
    command: Sequence[str] = (),
) -> str:
    """Return a plan, its costs, and the estimates that there are, as a ``table`` or ``json``.

    ``command`` are the words of the command that runs the plan; with ``--stage`` and a key, it runs
    a stage.
    """
    if style == "json":
        more: dict[str, object] = {
            "command": list(command) or None,
            "visibility": None if visibility is None else [one.as_json() for one in visibility],
            "hours": hours and hours.as_json(),
            "cluster": schedule and schedule.as_json(),
        }
        asked = {name: value for name, value in more.items() if value is not None}
        return to_json(_as_json(plan, costs, done) | asked, indent=2)
    lines = [*_lines(plan, done), *cost_lines(costs)]
    lines.append(f"workers: {_workers()} (`--jobs` and `--device` of run)")
    if list_stages:
        for key, stage in plan.stages.items():
            lines.append(f"{key}  {'cached' if key in done else 'to run'}  {stage.label}")
    if visibility is not None:
        from backbench.estimate.visibility import NOTE

        lines += ["", NOTE, *map(str, visibility)]
    if hours is not None:
        lines += hour_lines(hours)
    if schedule is not None:
        lines += ["", *schedule_lines(schedule, plan)]
    return "\n".join(lines)


def _users(plan: Plan) -> tuple[Counter[str], int]:
    """Count the cells that use each stage, and the stages that there were if each ran its own.

    What leads to a control counts for its cell.
    """
    led: dict[str, frozenset[str]] = {}

    def leading(keys: Iterable[str]) -> frozenset[str]:
        return frozenset[str]().union(*map(led.__getitem__, keys))

    for key, stage in plan.stages.items():  # each after those that it reads
        led[key] = leading(stage.inputs.values()) | {key}
    users: Counter[str] = Counter()
    separately = 0
    for cell in plan.cells:
        own, controls = leading(cell.own), leading(cell.controls)
        users.update(own | controls)
        separately += len(own) + len(controls)
    return users, separately


def _as_json(plan: Plan, costs: Costs, done: set[str]) -> dict[str, object]:
    users, _ = _users(plan)
    return {
        "benchmark": plan.benchmark,
        "cells": [
            {**asdict(cell.name), "path": cell.path, "control": cell.control} for cell in plan.cells
        ],
        "stages": [
            {
                "key": key,
                "kind": stage.kind.value,
                "label": stage.label,
                "inputs": dict(stage.inputs),
                "cached": key in done,
                "cells": users[key],
                "devices": devices_of(stage),
                **costs.of(key),
            }
            for key, stage in plan.stages.items()
        ],
        "costs": costs.as_json(),
        "workers": _workers(),
    }


def _workers() -> str:
    """Return the workers of ``run`` without ``--jobs`` and ``--device``."""
    if may_have_gpu():
        return "one for each GPU"
    return f"{core_count()}, each with 1 thread on a core of its own"


def _lines(plan: Plan, done: set[str]) -> Iterator[str]:
    """Yield the number of cells and, in a table, of the stages of each kind."""
    users, separately = _users(plan)
    controls = len({cell.control for cell in plan.cells if cell.control})
    yield (
        f"{plan.benchmark}: {counted(len(plan.cells), 'cell')} and "
        f"{counted(controls, 'control')} need {counted(len(plan.stages), 'stage')}; {separately:,} "
        "if each cell ran its own."
    )
    header = ("Stage", "distinct", "cached", "to run", "cells that share one, at most")
    lines = []
    for kind in StageKind:
        keys = [key for key, stage in plan.stages.items() if stage.kind == kind]
        if keys:
            cached = sum(key in done for key in keys)
            most = max(users[key] for key in keys)
            counts = (len(keys), cached, len(keys) - cached, most)
            lines.append((kind.value, *map(str, counts)))
    yield as_text(plain_grid(header, lines, 4)) + "\n"


def cost_lines(costs: Costs) -> Iterator[str]:
    """Yield image-steps by method, in a table, and bytes by kind of stage."""
    header = ("Training", "to run", "images × epochs", "passes", "image-steps")
    lines = []
    for name, trainings in costs.by_method().items():
        shown, steps = (
            f"{sum(getattr(one, what) for one in trainings):,}"
            for what in ("images_shown", "image_steps")
        )
        lines.append((name, str(len(trainings)), shown, str(trainings[0].passes), steps))
    if lines:
        yield as_text(plain_grid(header, lines, 4)) + "\n"
        yield STEP_NOTE
    if free := costs.unknown():
        named = ", ".join(f"{name} ({count})" for name, count in free.items())
        yield f"of unknown cost until the store has such a record: {named}"
    sizes = costs.bytes_by_kind()
    if sizes:
        known = [f"{kind} {decimal(size)}" for kind, size in sizes.items() if size is not None]
        unknown = [kind for kind, size in sizes.items() if size is None]
        after = f"; known once the store has some: {', '.join(unknown)}" if unknown else ""
        yield f"on disk, still to be written: {', '.join(known) or 'not known'}{after}"
    yield from costs.notes


def hour_lines(hours: Hours) -> Iterator[str]:
    """Yield a line for each sort whose time was looked up or measured, and the sum."""
    for work in hours.works:
        if work.seconds is not None:
            of = f"{work.stages} stages"
            if work.images:
                of = f"{work.images:,} images at {work.images / work.seconds:,.0f} a second"
            yield f"{work.name}: {work.how}: {of}: {in_hours(work.seconds / 3600)}"
        elif work.images:
            yield f"{work.name}: {work.how}"
    if hours.works:
        at = f"{hours.workers} stages at a time" if hours.workers > 1 else "one stage at a time"
        yield f"on this machine, {at}: about {in_hours(hours.total)}"
    if hours.left_out:
        yield f"left out, since the store has no such record: {', '.join(hours.left_out)}"


def schedule_lines(schedule: Schedule, plan: Plan) -> Iterator[str]:
    """Yield what a simulated schedule comes to, and what it leaves out."""
    cluster, hours = schedule.cluster, schedule.seconds / 3600
    yield (
        f"on {cluster} (simulated): {in_hours(hours)} for {schedule.stages} stages, "
        f"{schedule.utilization:.0%} of the slots' time used"
    )
    if schedule.critical:
        ends = [plan.stages[key].label for key in (schedule.critical[0], schedule.critical[-1])]
        yield (
            f"critical path: {in_hours(schedule.critical_s / 3600)}, {len(schedule.critical)} "
            f"stages from {ends[0]!r} to {ends[-1]!r}"
        )
    unsized = f"; {schedule.unsized} artifacts of unknown size left out" * (schedule.unsized > 0)
    yield f"bytes: {decimal(schedule.read)} read, {decimal(schedule.written)} written{unsized}"
    devices = ", ".join(f"{name} ({count})" for name, count in schedule.measured_on.items())
    yield f"times: mean of the store's records, by device: {devices or 'none'}"
    if schedule.unmeasured:
        named = ", ".join(f"{name} ({count})" for name, count in schedule.unmeasured.items())
        yield f"without a measured time, counted as 0 s: {named}"


def in_hours(hours: float) -> str:
    """Format hours: ``12 s``, ``4 min``, ``2.3 h``, ``1,250 h``."""
    if 60 * hours < 1:
        return f"{3600 * hours:.0f} s"
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 10 else f"{hours:,.0f} h"
