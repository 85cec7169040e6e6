"""A group with the commands of plugins."""

from __future__ import annotations

import click

from backbench.cli.groups import LazyGroup


class WithPlugins(LazyGroup):
    """A group of commands of ours, to which plugins add theirs."""

    _plugins_added = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, those of plugins' commands among them."""
        self.get_command(ctx, "")  # no command of ours: plugins add theirs
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; plugins are loaded only for a name that is not ours."""
        if cmd_name not in self._modules and not self._plugins_added:
            self._plugins_added = True
            from backbench.cli.notices import add_plugin_commands

            add_plugin_commands(self, self._modules)
        return super().get_command(ctx, cmd_name)
