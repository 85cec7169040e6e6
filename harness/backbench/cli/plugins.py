"""``backbench plugins``."""

from __future__ import annotations

import click

from backbench.cli import common
from backbench.cli.options import shared
from backbench.errors import ExitCode
from backbench.plugin.infos import KINDS
from backbench.plugin.registry import load_registry
from backbench.report.plugins import plugin_text, plugins_text


@click.group("plugins", invoke_without_command=True)
@shared.formats("table", "json")
@click.pass_context
def command(ctx: click.Context, style: str) -> None:
    """List the installed plugins and document their options."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command, style=style)


@command.command("list")
@shared.formats("table", "json")
def list_command(style: str) -> None:
    """List what was found, from where, with version and paper."""
    registry = load_registry()
    click.echo(plugins_text(registry, style))
    common.say("warning", registry.failures)
    if registry.failures:
        raise click.exceptions.Exit(ExitCode.USAGE)


@command.command("show")
@click.argument("name")
@click.option("--kind", type=click.Choice(list(KINDS)), help="If two kinds share the name.")
def show(name: str, kind: str | None) -> None:
    """Document a plugin: every option with type, default and bounds."""
    click.echo(plugin_text(load_registry(), name, kind))
