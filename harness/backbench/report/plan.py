"""A plan as a table or as JSON: cells, stages, what is cached, what the rest costs."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backbench.benchmark.config import Benchmark
from backbench.estimate.cost import Costs, print_costs
from backbench.estimate.visibility import NOTE, Estimate, estimates
from backbench.execution.local import LocalExecutor, may_have_gpu
from backbench.model import Plan, StageKind
from backbench.plugin.executor import Setup
from backbench.store.store import Store
from backbench.system.cores import core_count

if TYPE_CHECKING:
    from backbench.estimate.hours import Hours


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
        workers = LocalExecutor(None, setup).worker_devices()
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
            from backbench.estimate.hours import print_hours

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
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Stage")
    for heading in ("distinct", "cached", "to run", "cells that share one, at most"):
        table.add_column(heading, justify="right")
    for kind in StageKind:
        keys = [key for key, stage in plan.stages.items() if stage.kind == kind]
        if keys:
            cached = sum(key in done for key in keys)
            most = max(users[key] for key in keys)
            table.add_row(
                kind.value, str(len(keys)), str(cached), str(len(keys) - cached), str(most)
            )
    console.print(table)
    print_costs(costs, console)
    console.print(f"workers: {_workers()} (`--jobs` and `--device` of run)", soft_wrap=True)
    if list_stages:
        for key, stage in plan.stages.items():
            state = "cached" if key in done else "to run"
            console.file.write(f"{key}  {state}  {stage.label}\n")
