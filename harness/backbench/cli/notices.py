"""Warnings of commands, besides what they print."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from backbench.cli.common import load, say

if TYPE_CHECKING:
    import click

    from backbench.api.experiment import Experiment, Planned
    from backbench.api.finished import Bundled
    from backbench.model import Plan


def load_plan(file: Path, profile: str | None, store: Path) -> Planned | Bundled:
    """Return a bundle, or the plan of a benchmark in a store."""
    from backbench.api.finished import Bundled

    return Bundled(file) if file.suffix == ".zip" else planned_in(load(file, profile), store)


def planned_in(experiment: Experiment, store: Path, against: Path | None = None) -> Planned:
    """Return the plan of an experiment in a store, which is compared to another store or none."""
    planned = experiment.plan(store=store)
    warn_of_origins(experiment, planned.plan, store, against)
    return planned


def warn_of_origins(experiment: Experiment, plan: Plan, *folders: Path | None) -> None:
    """Name on stderr what in these stores other code, or arithmetic of several kinds, made."""
    from backbench.results.mixed_arithmetic import mixed_arithmetic
    from backbench.results.outdated import changed_code
    from backbench.store.store import Store

    stores = [Store(folder) for folder in folders if folder]
    for store in stores:
        say("warning", changed_code(plan, store, experiment.registry))
    say("warning", mixed_arithmetic(plan, stores))


def warn_of_triggers(experiment: Experiment) -> None:
    """Name on stderr the attacks that cannot work, since a method's crops lose their trigger."""
    from backbench.estimate.visibility import warnings

    say("warning", warnings(experiment.benchmark))


def add_plugin_commands(group: click.Group, taken: Collection[str]) -> None:
    """Let plugins add their commands to a group; name on stderr those that it does not take."""
    from backbench.plugin.registry import load_registry

    registry = load_registry()
    known = len(registry.failures)
    registry.add_commands(group, taken)
    say("warning", registry.failures[known:])
