"""What several commands do: load a benchmark with its warnings, print results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from backbench.api import Experiment
    from backbench.plugin.registry import Failure
    from backbench.report.results import Results


def load(file: Path, profile: str | None, **how: bool) -> Experiment:
    """Return a validated benchmark; name the plugins that cannot be used."""
    from backbench.api import load as load_experiment

    experiment = load_experiment(file, profile, **how)
    warn_of_failures(experiment.registry.failures)
    return experiment


def warn_of_failures(failures: Iterable[Failure]) -> None:
    """Name on stderr the plugins that could not be used, or have raised."""
    for failure in failures:
        click.echo(f"warning: {failure}", err=True)


def warn_of_triggers(experiment: Experiment) -> None:
    """Name on stderr the attacks that cannot work, since a method's crops lose their trigger."""
    from backbench.estimate.visibility import warnings

    for sentence in warnings(experiment.benchmark):
        click.echo(f"warning: {sentence}", err=True)


def show(results: Results, style: str = "table", group: str | None = "evaluator") -> None:
    """Print a leaderboard on stdout, and on stderr why rows are incomplete."""
    from rich.console import Console

    from backbench.report.tables import print_board

    print_board(results.board, style, group, Console())
    for problem in dict.fromkeys(row.problem for row in results.rows if row.problem):
        click.echo(f"failed: {problem}", err=True)
