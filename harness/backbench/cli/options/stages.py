"""The option ``--stage``: a scheduler runs the graph, and each process makes single stages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backbench.cli.options.ending import end
from backbench.errors import UsageError

if TYPE_CHECKING:
    from backbench.api.experiment import Experiment

stage_option = click.option(
    "--stage",
    "stages",
    metavar="STAGE",
    multiple=True,
    help="Run only this stage, in this process; its inputs are in the store: a key, its beginning, "
    "or a printed name. Repeatable.",
)

#: Options of a whole run.
_WHOLE = ("refresh", "redo", "observe")


def run_only(experiment: Experiment, names: tuple[str, ...], *, store: Path, **given: Any) -> None:
    """Run stages by name, and print what was done on stderr.

    Raises:
        UsageError: If an option is given that belongs to a whole run.
        click.exceptions.Exit: If a stage failed, or the process was stopped.
    """
    wrong = [f"--{name}" for name in _WHOLE if given.pop(name, None)]
    if wrong:
        raise UsageError(f"--stage runs single stages: leave out {' and '.join(wrong)}")
    result = experiment.run_stages(*names, store=store, progress=True, **given)
    click.echo("\n".join([result.summary, *filter(None, result.logs.values())]), err=True)
    end(result.exit_code, store)
