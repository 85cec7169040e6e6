"""Output of a command that has run stages, and its exit code."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from backbench.cli import common
from backbench.errors import ExitCode

if TYPE_CHECKING:
    from backbench.report.results import Run

#: Most failed stages that the end of a run repeats; the others have been printed, too.
_REPEATED = 20


def finish(run: Run, store: object, style: str = "table") -> None:
    """Print what was done and the leaderboard.

    Raises:
        click.exceptions.Exit: If a stage failed, or the run was stopped.
    """
    click.echo(run.summary, err=True)
    if has_rows := any(row.seeds for row in run.rows):
        common.show(run, style)
    for key in list(run.outcome.failed)[:_REPEATED]:
        reason, log = run.outcome.failed[key], run.outcome.logs[key]
        if log or not has_rows:
            common.say("failed", [f"{run.plan.stages[key].label}: {reason}"])
        if log:
            click.echo(textwrap.indent(log, "    "), err=True)
    end(run.exit_code, store)


def end(code: ExitCode, store: object) -> None:
    """Exit with a code other than 0, and name what is of use then.

    Raises:
        click.exceptions.Exit: If the code is not 0.
    """
    if code is ExitCode.INTERRUPTED:
        click.echo(f"stopped: the same command goes on from here (store: {store})", err=True)
    elif code is not ExitCode.OK:
        click.echo(f"tracebacks: {store}/failures, output of workers: {store}/logs", err=True)
    if code is not ExitCode.OK:
        raise click.exceptions.Exit(code)
