"""Parts that several commands share: load a benchmark with its warnings, print results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backbench.errors import printable
from backbench.store import DEFAULT_STORE

if TYPE_CHECKING:
    from backbench.api.experiment import Experiment
    from backbench.report.results import Results

CHANGES = "backbench.changes"  # where a command's context keeps the values of ``--set``


def load(file: Path, profile: str | None, **how: bool) -> Experiment:
    """Return a validated benchmark; name the plugins that cannot be used, later ones at the end."""
    from backbench.api.experiment import load as load_experiment
    from backbench.benchmark.config import notes_on

    context = click.get_current_context()
    changes, store = context.meta.get(CHANGES, ()), context.params.get("store", DEFAULT_STORE)
    experiment = load_experiment(file, profile, changes=changes, store=store, **how)
    say("warning", (unreported := experiment.registry.unreported)())
    context.call_on_close(lambda: say("warning", unreported()))
    say("changed", changes)
    say("note", notes_on(experiment.benchmark))
    return experiment


def say(kind: str, sentences: Iterable[object]) -> None:
    """Print notes, warnings or failures on stderr, a sentence a line."""
    for sentence in sentences:
        click.echo(f"{kind}: {printable(str(sentence))}", err=True)


def show(results: Results, style: str = "table", group: str | None = "evaluator") -> None:
    """Print a leaderboard on stdout, and on stderr why rows are incomplete."""
    from backbench.report.console import make_console
    from backbench.report.tables import print_board

    if style == "parquet":
        click.echo(results.to_parquet(), nl=False)
    else:
        print_board(results.board, style, group, make_console())
    say("failed", {row.problem: row for row in results.rows if row.problem})
