"""``backbench zoo verify``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.cli.options.paths import UserPath
from backbench.errors import ExitCode
from backbench.zoo.checking import verify_zoo


@click.command("verify")
@click.argument("folder", metavar="DIR", type=UserPath(file_okay=False))
def command(folder: Path) -> ExitCode:
    """Check a zoo: every hash, every card and mark, every control, and nothing besides.

    Names the first thing that differs of each file and encoder; exit code 1 if any does. A hash is
    no signature: it cannot prove who made the zoo.
    """
    found = verify_zoo(folder)
    click.echo("\n".join(found.lines(str(folder), "encoders")))
    return ExitCode.FAILED if found.differs else ExitCode.OK
