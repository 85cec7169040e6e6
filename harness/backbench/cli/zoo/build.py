"""``backbench zoo build``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.cli import common
from backbench.cli.options import changes, shared
from backbench.cli.options.paths import UserPath


@click.command("build")
@shared.benchmark_argument
@shared.profile_option
@shared.store_option
@click.option(
    "--out",
    type=UserPath(file_okay=False),
    required=True,
    help="Folder of the zoo; it must not be there yet.",
)
def command(file: Path, profile: str | None, store: Path, out: Path) -> None:
    """Write the encoders of BENCHMARK that no defense has touched, with their controls.

    Each has a card: what was done to it, its control, its numbers, its recipe, its mark. Runs
    nothing: everything must be in the store. The same store gives the same bytes.
    """
    planned = common.load(file, profile).plan(store=store)
    built = planned.write_zoo(out, run=changes.run_command(file, store))
    if built.left_out:
        click.echo(f"{built.left_out} encoders from elsewhere are left out", err=True)
    click.echo(f"{out}: {len(built.cards)} encoders, {built.bytes} bytes, SHA-256 {built.sha256}")
