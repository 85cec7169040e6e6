"""``backbench data imagenet100``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from backbench.cli import common
from backbench.cli.options.paths import UserPath
from backbench.data import classes as class_sets
from backbench.data.subset import make_subset, plan_subset
from backbench.report.image_sets import subset_note, subset_text

_FOLDER = UserPath(file_okay=False)


@click.command("imagenet100")
@click.option(
    "--imagenet",
    "source",
    type=_FOLDER,
    required=True,
    help="ImageNet: train and val, with a folder a class in each.",
)
@click.option("--out", type=_FOLDER, required=True, help="Folder to make.")
@click.option("--link", is_flag=True, help="Link the class folders; copy nothing.")
@click.option(
    "--classes",
    metavar="NAME|FILE",
    default="imagenet100",
    show_default=True,
    help="Which classes: a list that ships with backbench, or a file with a class a line.",
)
def command(source: Path, out: Path, classes: str, *, link: bool) -> None:
    """Take the classes of ImageNet-100 out of ImageNet.

    Images are copied as they are. Interrupted and run again, it continues. Missing classes are
    named before anything is written, and so is what OUT holds and would not be made.
    """
    subset = plan_subset(source, out, class_sets.find_classes(classes), link=link)
    common.say("note", subset.notes)
    quiet = not sys.stderr.isatty()
    length = len(subset.missing)
    with click.progressbar(length=length, label="images", file=sys.stderr, hidden=quiet) as bar:
        make_subset(subset, bar.update)
    click.echo(subset_text(subset))
    if note := subset_note(subset):
        click.echo(note, err=True)
