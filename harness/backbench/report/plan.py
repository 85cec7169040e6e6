"""A plan as a table or as JSON: cells, stages, what is cached, what the rest costs."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, cast

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from backbench.benchmark.config import Benchmark
from backbench.estimate.cost import Costs
from backbench.estimate.visibility import NOTE, Estimate, estimates
from backbench.execution.local import LocalExecutor, may_have_gpu
from backbench.model import Plan, StageKind
from backbench.plugin.executor import Setup
from backbench.report.grid import plain_grid, print_grid
from backbench.store.store import Store
from backbench.system.cores import core_count

if TYPE_CHECKING:
    from backbench.estimate.hours import Hours

STEP_NOTE: Final = (
    "image-step: one image, or tile of an image, forward through one network once, while "
    "training: images × epochs × passes"
)


class PlanReport:
    """A plan, what it costs, and estimates that are made when they are asked for.

    Args:
        plan: The plan.
        costs: What its stages cost.
        store: Where stages are looked for.
    """

    def __init__(self, plan: Plan, costs: Costs, store: Store) -> None:
        self._plan, self._costs, self._store = plan, costs, store
        self._done = store.done()
        self._visibility: list[Estimate] | None = None
        self._hours: Hours | None = None

    def estimate_visibility(self, benchmark: Benchmark) -> None:
        """Estimate how often each trigger survives the crops of each method's views."""
        self._visibility = list(estimates(benchmark))

    def measure_hours(self, device: str, jobs: int | None) -> None:
        """Train each method for some seconds, where no record says how fast it is.

        Args:
            device: Name of the torch device, or ``auto``.
            jobs: Stages at a time; ``None`` for as many as ``run`` takes.
        """
        from backbench.estimate.hours import hours_of

        def tell(line: str) -> None:
            print(line, file=sys.stderr)  # noqa: T201 - it takes a while

        setup = Setup(store=self._store.root, device=device, jobs=jobs)
        workers = LocalExecutor(None, setup).workers
        self._hours = hours_of(self._costs, workers, tell=tell)

    def json(self) -> str:
        """Return JSON."""
        content = _as_json(self._plan, self._costs, self._done)
        if self._visibility is not None:
            content["visibility"] = [one.as_json() for one in self._visibility]
        if self._hours is not None:
            content["hours"] = self._hours.as_json()
        return json.dumps(content, indent=2)

    def text(self, *, list_stages: bool = False) -> str:
        """Return tables.

        Args:
            list_stages: Whether every stage gets a line.
        """
        console = Console(file=io.StringIO())
        _print(self._plan, self._costs, self._done, console, list_stages=list_stages)
        if self._visibility is not None:
            console.file.write("\n".join(["", NOTE, *map(str, self._visibility), ""]))
        if self._hours is not None:
            print_hours(self._hours, console)
        return cast("io.StringIO", console.file).getvalue().rstrip("\n")


_Needs = list[tuple[frozenset[str], frozenset[str]]]


def _needs(plan: Plan) -> _Needs:
    """Return, for each cell, the stages that lead to it, and those that lead to its control."""
    return [
        (
            frozenset(plan.ancestors(cell.evaluation)),
            frozenset(plan.ancestors(cell.control) if cell.control else ()),
        )
        for cell in plan.cells
    ]


def _users(needs: _Needs) -> Counter[str]:
    """Count the cells that use each stage; what leads to a control counts for its cell."""
    return Counter(key for own, controls in needs for key in own | controls)


def _as_json(plan: Plan, costs: Costs, done: set[str]) -> dict[str, object]:
    """Return a plan as JSON values."""
    users = _users(_needs(plan))
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
            }
            for key, stage in plan.stages.items()
        ],
        "costs": costs.as_json(),
        "workers": _workers(),
    }


def _workers() -> str:
    """Return what computes, unless ``run`` is given other ``--jobs`` or another ``--device``."""
    if may_have_gpu():
        return "one for each GPU"
    return f"{core_count()}, each with 1 thread on a core of its own"


def _print(
    plan: Plan, costs: Costs, done: set[str], console: Console, *, list_stages: bool
) -> None:
    needs = _needs(plan)
    users = _users(needs)
    controls = len({cell.control for cell in plan.cells if cell.control})
    separately = sum(len(own) + len(control) for own, control in needs)
    console.print(
        f"[bold]{escape(plan.benchmark)}[/]: {len(plan.cells)} cells and {controls} controls need "
        f"{len(plan.stages)} stages; {separately} if each cell ran its own.",
        soft_wrap=True,
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
    print_grid(plain_grid(header, lines, 4), console)
    print_costs(costs, console)
    console.print(f"workers: {_workers()} (`--jobs` and `--device` of run)", soft_wrap=True)
    if list_stages:
        for key, stage in plan.stages.items():
            state = "cached" if key in done else "to run"
            console.file.write(f"{key}  {state}  {stage.label}\n")


def print_costs(costs: Costs, console: Console) -> None:
    """Print image-steps by method, and bytes by kind of stage."""
    methods = costs.by_method()
    header = ("Training", "to run", "images × epochs", "passes", "image-steps")
    lines = [
        (
            name,
            str(len(trainings)),
            f"{sum(one.images_shown for one in trainings):,}",
            str(trainings[0].passes),
            f"{sum(one.image_steps for one in trainings):,}",
        )
        for name, trainings in methods.items()
    ]
    if methods:
        print_grid(plain_grid(header, lines, 4), console)
        console.print(STEP_NOTE, style="dim", soft_wrap=True)
    sizes = costs.bytes_by_kind()
    known = {kind: size for kind, size in sizes.items() if size is not None}
    unknown = [kind for kind, size in sizes.items() if size is None]
    if sizes:
        parts = ", ".join(f"{kind} {decimal(size)}" for kind, size in known.items())
        after = f"; known once the store has some: {', '.join(unknown)}" if unknown else ""
        console.print(
            f"on disk, still to be written: {parts or 'not known'}{after}", soft_wrap=True
        )
    for note in costs.notes:
        console.print(note, style="dim", soft_wrap=True)


def print_hours(hours: Hours, console: Console) -> None:
    """Print a line for each sort whose time was looked up or measured, and the sum."""
    for work in hours.works:
        line = work.how
        if work.seconds is not None:
            of = f"{work.stages} stages"
            if work.images:
                of = f"{work.images:,} images at {work.images / work.seconds:,.0f} a second"
            line = f"{work.how}: {of}: {in_hours(work.seconds / 3600)}"
        elif not work.images:
            continue
        console.print(f"{work.name}: {line}", soft_wrap=True, markup=False, highlight=False)
    if hours.works:
        at = f"{hours.workers} stages at a time" if hours.workers > 1 else "one stage at a time"
        console.print(
            f"[bold]on this machine, {at}: about {in_hours(hours.total)}[/]",
            soft_wrap=True,
            highlight=False,
        )
    if hours.left_out:
        text = f"left out, since the store has no such record: {', '.join(hours.left_out)}"
        console.print(text, style="dim", soft_wrap=True)


def in_hours(hours: float) -> str:
    """Format hours: ``4 min``, ``2.3 h``, ``1,250 h``."""
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 10 else f"{hours:,.0f} h"
