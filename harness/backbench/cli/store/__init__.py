"""``backbench store``."""

from __future__ import annotations

import click

from backbench.cli.groups import LazyGroup

_COMMANDS = {
    "gc": ("backbench.cli.store.gc", "Remove what no stage needs any more."),
    "sync": ("backbench.cli.store.sync", "Copy the stages that another store lacks."),
}


@click.group("store", cls=LazyGroup, modules=_COMMANDS, no_args_is_help=True)
def command() -> None:
    """Look after a store."""
