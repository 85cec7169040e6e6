"""``backbench protocol``."""

from __future__ import annotations

import click

from backbench.cli.options import shared
from backbench.report.protocols import card_text, cards_text, difference_text


@click.group("protocol", invoke_without_command=True)
@shared.formats("table", "json")
@click.pass_context
def command(ctx: click.Context, style: str) -> None:
    """Show and compare the protocols of evaluation.

    A protocol card fixes what makes numbers comparable. A benchmark file that follows one says
    `protocol = "ID"` in [benchmark].
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command, style=style)


@command.command("list")
@shared.formats("table", "json")
def list_command(style: str) -> None:
    """List the cards."""
    click.echo(cards_text(style))


@command.command("show")
@click.argument("protocol_id", metavar="ID")
@shared.formats("table", "json")
def show(protocol_id: str, style: str) -> None:
    """Show every value that a card fixes, and where its numbers come from."""
    click.echo(card_text(protocol_id, style))


@command.command("diff")
@click.argument("one_id", metavar="A")
@click.argument("other_id", metavar="B")
@shared.formats("table", "json")
def diff(one_id: str, other_id: str, style: str) -> None:
    """Show what two cards fix differently."""
    click.echo(difference_text(one_id, other_id, style))
