"""Options of ``report``."""

from __future__ import annotations

from pathlib import Path

import click

from backbench.cli.options.changes import set_option
from backbench.cli.options.filters import filter_option
from backbench.cli.options.paths import UserPath
from backbench.cli.options.shared import together
from backbench.report.html import MOST_FIGURES

what_argument = together(
    click.argument(
        "what", metavar="[BENCHMARK] [STORE | BUNDLE.zip | FOLDER]...", type=UserPath(), nargs=-1
    ),
    set_option,
)

page_options = together(
    filter_option,
    click.option(
        "--out",
        type=UserPath(dir_okay=False),
        default=Path("report.html"),
        show_default=True,
        help="The page.",
    ),
    click.option(
        "--site",
        metavar="DIR",
        type=UserPath(file_okay=False),
        help="Make a site of bundles in this folder instead.",
    ),
    click.option(
        "--figures",
        "most_figures",
        metavar="CELLS",
        type=click.IntRange(min=0),
        default=MOST_FIGURES,
        show_default=True,
        help="So many cells get figures, the first.",
    ),
)
