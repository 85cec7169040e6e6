"""``backbench poison``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from backbench.cli import common
from backbench.plugin.registry import load_registry


@click.command("poison")
@click.argument("file", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--attack", metavar="NAME", help="Which attack, where the file has several.")
@click.option("--dataset", metavar="NAME", help="Which dataset, where the file has several.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed of every draw.  [default: the benchmark's first, or 0]",
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.  [default: poison, or a published file's poison_savedir]",
)
@click.option(
    "--splits", metavar="LIST", help="What to write.  [default: the file's, or train,val_poisoned]"
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["jpeg", "png"]),
    help="Of the images.  [default: jpeg]",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 95),
    help="Of JPEGs (4:2:0).  [default: the attack's jpeg_quality, or 75]",
)
@click.option(
    "--reencode-clean",
    is_flag=True,
    default=None,
    help="Write the clean images too, coded like the poisoned ones.",
)
@click.option(
    "--patch-columns",
    is_flag=True,
    default=None,
    help="End the list's lines of poisoned images with x y width height.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: all cores]"
)
def command(file: Path, jobs: int | None, file_format: str | None, **given: Any) -> None:
    """Write a poisoned dataset as image files and lists.

    CONFIG is a benchmark file, a TOML file with a table [poison], or one of the published
    configuration files as it is. What was interrupted is continued.
    """
    from backbench.data.files import cores
    from backbench.poison.files.layout_plan import make_plan
    from backbench.poison.files.request import read_request
    from backbench.poison.files.result import describe
    from backbench.poison.files.writing import write

    values = {key: value for key, value in {**given, "format": file_format}.items() if value}
    if given["seed"] is not None:
        values["seed"] = given["seed"]
    registry = load_registry()
    request = read_request(file, values, registry)
    common.warn_of_failures(registry.failures)
    for note in request.notes:
        click.echo(f"note: {note}", err=True)
    plan = make_plan(request)
    total = sum(len(group.indices) for group in plan.groups)
    quiet = not sys.stderr.isatty()
    with click.progressbar(length=total, label="images", file=sys.stderr, hidden=quiet) as bar:
        summary = write(plan, jobs or cores(), bar.update)
    for line in describe(plan, summary):
        click.echo(line)
