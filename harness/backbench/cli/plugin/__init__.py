"""``backbench plugin``."""

from __future__ import annotations

import click

from backbench.cli.groups import LazyGroup

_COMMANDS = {
    "new": ("backbench.cli.plugin.new", "Write a new plugin that works as it stands."),
}


@click.group("plugin", cls=LazyGroup, modules=_COMMANDS, no_args_is_help=True)
def command() -> None:
    """Write a plugin of your own.

    `backbench plugins` lists the plugins that are installed.
    """
