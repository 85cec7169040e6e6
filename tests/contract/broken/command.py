"""Commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backbench.cli.root import COMMANDS
from backbench.errors import PluginError
from backbench.plugin import hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry
from backbench.testing import CommandContract
from tests.contract.broken import broken


class Right:
    """It adds a command."""

    name, text = "size", "Print the size of a store."

    @hookimpl
    def add_commands(self, cli):
        cli.add_command(click.Command(self.name, callback=lambda: None, help=self.text))


class Kit(CommandContract):
    __test__ = False
    sample: Any = Right

    def __init__(self) -> None:
        self.plugin = self.sample()


def harness(kit: Kit, folder: Path) -> None:
    """Add the commands to a group that has another plugin's; what is reported is raised."""
    group, other = click.Group("backbench"), Right()
    other.name = "weigh"
    registry = Registry()
    registry.add(other, Origin("another", "", ""))
    registry.add(kit.plugin, Origin("broken", "", ""))
    registry.add_commands(group, COMMANDS)
    if registry.failures:
        assert group.commands.keys() == {"weigh"}
        raise PluginError(registry.failures[0].reason)


@broken("test_names_are_new", "its command 'run' is already there")
class TakesABuiltInName(Right):
    """Its command has the name of a built-in command."""

    name = "run"


@broken("", "its command 'weigh' is already there")
class TakesAnothersName(Right):
    """Its command has the name of another plugin's command."""

    name = "weigh"


@broken("test_each_has_a_line_of_help")
class NoHelp(Right):
    """Its command has no help."""

    text = ""


@broken("test_it_adds_commands")
class AddsNothing:
    """It adds no command."""

    @hookimpl
    def add_commands(self, cli):
        pass


@broken("test_it_adds_commands")
class Prints(Right):
    """It prints to stdout when commands are added."""

    @hookimpl
    def add_commands(self, cli):
        print("adding a command")
        super().add_commands(cli)


@broken("test_it_adds_commands", "raised ModuleNotFoundError")
class NeedsAnotherPackage:
    """It imports a package that is not there."""

    @hookimpl
    def add_commands(self, cli):
        raise ModuleNotFoundError("No module named 'plotter'")


@broken("test_it_adds_commands", "raised SystemExit")
class Exits:
    """It ends the process."""

    @hookimpl
    def add_commands(self, cli):
        raise SystemExit(0)


@broken("test_the_registry_takes_it", "there is no hook 'add_command': did you mean")
class MisspellsItsHook:
    """It implements a hook that there is not."""

    @hookimpl
    def add_command(self, cli):
        pass


class _NoHelp(click.Command):
    def get_help(self, ctx):
        raise RuntimeError("no help")


@broken("test_help_can_be_shown")
class HelpRaises(Right):
    """Its help cannot be shown."""

    @hookimpl
    def add_commands(self, cli):
        cli.add_command(_NoHelp("size", help="Print the size."))
