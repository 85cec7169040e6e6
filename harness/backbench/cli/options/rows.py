"""Options for the rows that ``show`` prints, their counts and their order."""

from __future__ import annotations

import click

from backbench.cli.options.filters import filter_option
from backbench.cli.options.shared import together
from backbench.model import Axis

row_options = together(
    click.option("--sort", metavar="NAME", help="Field or metric; -NAME for descending."),
    filter_option,
    click.option(
        "--over",
        type=click.Choice(["attacks"]),
        help="One row for all attacks of a method: columns of their worst case and of their mean.",
    ),
    click.option(
        "--group",
        type=click.Choice([*map(str, Axis), "nothing"]),
        default="evaluator",
        show_default=True,
        help="One table for each value of this field.",
    ),
    click.option(
        "--trace",
        metavar="ROW",
        help="How a row came about, from the file to the predictions: "
        "method=byol,attack=none,… until one row is left.",
    ),
)

counting_options = together(
    click.option(
        "--asr",
        type=click.Choice(["all-images", "other-classes"]),
        help="Count differently: which images ASR is a share of.",
    ),
    click.option("--target", metavar="CLASS", help="Count differently: the target class."),
    click.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="NAME",
        help="Show this metric's column only; repeat it for several.",
    ),
)
