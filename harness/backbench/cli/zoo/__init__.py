"""``backbench zoo``."""

from __future__ import annotations

import click

from backbench.cli.groups import LazyGroup

_COMMANDS = {
    "build": ("backbench.cli.zoo.build", "Write the encoders of a benchmark as a hashed set."),
    "verify": ("backbench.cli.zoo.verify", "Check every hash and every card of a zoo."),
}


@click.group("zoo", cls=LazyGroup, modules=_COMMANDS, no_args_is_help=True)
def command() -> None:
    """Build and check zoos: encoders, clean and backdoored, each with a card."""
