"""The option ``--set`` of commands that read a benchmark file, and the commands that repeat it."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from backbench.cli.common import CHANGES
from backbench.store.store import Store


def _remember(context: click.Context, _: click.Parameter, given: tuple[str, ...]) -> None:
    context.meta[CHANGES] = given


#: :func:`backbench.cli.common.load` applies it.
set_option = click.option(
    "--set",
    metavar="PATH=VALUE",
    multiple=True,
    expose_value=False,
    callback=_remember,
    help="Change a value of the benchmark file: methods.byol.epochs=20. Repeatable.",
)


def run_words(file: Path, store: Path, profile: str | None = None) -> list[str]:
    """Return the words of the command that runs a benchmark as this command has read it."""
    changes = click.get_current_context().meta.get(CHANGES, ())
    sets = [f"--set={one}" for one in changes]
    sets += [] if profile is None else [f"--profile={profile}"]
    return ["backbench", "run", str(file), *sets, "--store", Store(store).name]


def run_command(file: Path, store: Path) -> str:
    """Return the command that runs a benchmark as this command has read it."""
    return shlex.join(run_words(file, store))
