"""The option ``--filter``."""

from __future__ import annotations

import click

filter_option = click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="EXPR",
    help="method=byol, attack!=none, asr>0.1 …; all must hold.",
)
