"""Warnings of commands, besides what they print."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from backbench.cli.common import load, say

if TYPE_CHECKING:
    import click

    from backbench.api import Bundled, Experiment, Planned
    from backbench.model import Plan


def load_plan(file: Path, profile: str | None, store: Path) -> Planned | Bundled:
    """Return a bundle, or the plan of a benchmark in a store.

    Of a store, plugins are named whose code is another one now.
    """
    from backbench.api import Bundled

    if file.suffix == ".zip":
        return Bundled(file)
    planned = load(file, profile).plan(store=store)
    warn_of_code(planned.experiment, planned.plan, store)
    return planned


def warn_of_code(experiment: Experiment, plan: Plan, store: Path) -> None:
    """Name on stderr the plugins whose code is not that of their stages in the store."""
    from backbench.results.outdated import changed_code
    from backbench.store.store import Store

    say("warning", changed_code(plan, Store(store), experiment.registry))


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
