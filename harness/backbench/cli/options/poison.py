"""Values of ``[poison]`` that ``poison`` takes from the command line."""

from __future__ import annotations

import click

from backbench.cli.options.paths import UserPath
from backbench.cli.options.shared import together

poison_options = together(
    click.option("--attack", metavar="NAME", help="Which attack, where the file has several."),
    click.option("--dataset", metavar="NAME", help="Which dataset, where the file has several."),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        help="Seed of every draw.  [default: the benchmark's first, or 0]",
    ),
    click.option(
        "--out",
        metavar="DIR",
        type=UserPath(file_okay=False),
        help="Folder to write to.  [default: poison, or a published file's poison_savedir]",
    ),
    click.option(
        "--splits",
        metavar="LIST",
        help="What to write.  [default: the file's, or train,val_poisoned]",
    ),
    click.option(
        "--format",
        "format",
        type=click.Choice(["jpeg", "png"]),
        help="Of the images.  [default: jpeg, or png if JPEG erases the trigger]",
    ),
    click.option(
        "--quality",
        type=click.IntRange(1, 95),
        help="Of JPEGs (4:2:0).  [default: the attack's jpeg_quality, or 75]",
    ),
    click.option(
        "--reencode-clean",
        is_flag=True,
        default=None,
        help="Write the clean images too, coded like the poisoned ones.",
    ),
    click.option(
        "--patch-columns",
        is_flag=True,
        default=None,
        help="End the list's lines of poisoned images with x y width height.",
    ),
)
