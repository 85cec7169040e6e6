"""Options for the comparison that ``compare`` makes, and for when it fails."""

from __future__ import annotations

import click

from backbench.cli.options.changes import set_option
from backbench.cli.options.filters import filter_option
from backbench.cli.options.paths import StorePath
from backbench.cli.options.shared import together
from backbench.results.compare import METRICS

comparing_options = together(
    click.option(
        "--against",
        type=StorePath(file_okay=False, exists=True),
        metavar="FOLDER|URL",
        help="Compare --store with this store of the same benchmark, instead of A with B.",
    ),
    filter_option,
    set_option,
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="NAME",
        help=f"What to compare; may be repeated.  [default: {', '.join(METRICS)}]",
    ),
    click.option(
        "--fail-on",
        "limits",
        multiple=True,
        metavar="EXPR",
        help="Exit 1 if a difference A - B is so beyond doubt: 'asr > +0.02'; may be repeated.",
    ),
)
