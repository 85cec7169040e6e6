"""Options for how stages run, and for what is printed afterwards."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from backbench.cli import common
from backbench.cli.options.shared import together
from backbench.errors import ExitCode

if TYPE_CHECKING:
    from backbench.report.results import Run

#: Most failed stages that the end of a run repeats; the others have been printed, too.
_REPEATED = 20

run_options = together(
    click.option("--executor", help="Which executor. Default: the benchmark file's, else local."),
    click.option(
        "-j",
        "--jobs",
        type=click.IntRange(min=1),
        help="Stages at a time. Default: one a GPU, else one a core.",
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:0 …"),
    click.option("--observe", metavar="NAME", multiple=True, help="Pass the run on to a tracker."),
)


def pop_how(given: dict[str, Any]) -> dict[str, Any]:
    """Take the values of :data:`run_options` out of a command's."""
    values = {name: given.pop(name) for name in ("executor", "jobs", "device", "observe")}
    return {name: value for name, value in values.items() if value is not None}


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
    if run.exit_code is ExitCode.INTERRUPTED:
        click.echo(f"stopped: the same command goes on from here (store: {store})", err=True)
    elif run.exit_code is not ExitCode.OK:
        click.echo(f"tracebacks: {store}/failures, output of workers: {store}/logs", err=True)
    if run.exit_code is not ExitCode.OK:
        raise click.exceptions.Exit(run.exit_code)
