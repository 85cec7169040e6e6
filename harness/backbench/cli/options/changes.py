"""The option ``--set`` of every command that reads a benchmark file."""

from __future__ import annotations

import click

from backbench.cli.common import CHANGES


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
