"""``backbench plan``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from backbench.cli import common
from backbench.estimate.choices import choices
from backbench.estimate.cost import Costs, costs_of, print_costs
from backbench.estimate.visibility import NOTE, Estimate, estimates
from backbench.execution.local import may_have_gpu, usable_cores
from backbench.model import Plan, StageKind
from backbench.store.store import Store


@click.command("plan")
@common.benchmark_argument
@common.profile_option
@common.store_option
@common.formats("table", "json")
@click.option("--stages", "list_stages", is_flag=True, help="List every stage.")
@click.option(
    "--visibility",
    "show_visibility",
    is_flag=True,
    help="Estimate how often each trigger survives the crops of each method's views.",
)
def command(
    file: Path,
    profile: str | None,
    store: Path,
    style: str,
    *,
    list_stages: bool,
    show_visibility: bool,
) -> None:
    """Show cells and stages: what is cached, what is shared, what the rest costs.

    Runs nothing, and writes nothing but the hashes of images into a store that is there.
    """
    registry, benchmark = common.load(file, profile)
    where = Store(store)
    plan = common.plan_of(benchmark, where, keep_hashes=where.exists)
    costs = costs_of(plan, benchmark, registry)
    found = list(estimates(benchmark)) if show_visibility else None
    if not show_visibility:
        common.warn_of_triggers(benchmark)
    show_plan(plan, costs, where.done(), style, list_stages=list_stages, visibility=found)


def show_plan(
    plan: Plan,
    costs: Costs,
    done: set[str],
    style: str = "table",
    *,
    list_stages: bool = False,
    visibility: Sequence[Estimate] | None = None,
) -> None:
    """Print a plan on stdout.

    Args:
        plan: The plan.
        costs: What its stages cost.
        done: Keys of the stages that are in the store.
        style: ``table`` or ``json``.
        list_stages: Whether every stage gets a line of the table's.
        visibility: How often triggers survive in views, if that was asked for.
    """
    if style == "json":
        content = as_json(plan, costs, done)
        if visibility is not None:
            content["visibility"] = [one.as_json() for one in visibility]
        click.echo(json.dumps(content, indent=2))
        return
    _print(plan, costs, done, list_stages=list_stages)
    if visibility is not None:
        click.echo("\n".join(["", NOTE, *map(str, visibility)]))


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


def as_json(plan: Plan, costs: Costs, done: set[str]) -> dict[str, object]:
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
        "costs": costs.as_json(done),
        "choices": [list(one) for one in _choices(costs, done)],
    }


def _choices(costs: Costs, done: set[str]) -> list[tuple[str, str]]:
    methods = costs.by_method(done)
    return choices(methods, gpu=may_have_gpu(), cores=len(usable_cores())) if methods else []


def _print(plan: Plan, costs: Costs, done: set[str], *, list_stages: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
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
    print_costs(costs, done, console)
    for name, how in _choices(costs, done):
        console.print(f"{escape(name)}: {how}", soft_wrap=True)
    if list_stages:
        for key, stage in plan.stages.items():
            state = "cached" if key in done else "to run"
            click.echo(f"{key}  {state}  {stage.label}")
