"""``backbench data filelist``."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from backbench.cli import common
from backbench.cli.options.fractions import fraction_option
from backbench.cli.options.paths import UserPath
from backbench.data import classes as class_sets
from backbench.data.dataset_options import ImageFolderOptions
from backbench.data.folder import ImageFolder
from backbench.data.list_files import write_lists

_FOLDER = UserPath(file_okay=False)


@click.command("filelist")
@click.option(
    "--root",
    type=_FOLDER,
    required=True,
    help="The images: train and val, with a folder a class in each.",
)
@click.option("--out", type=_FOLDER, required=True, help="Folder for the lists.")
@fraction_option
@click.option("--seed", default=0, show_default=True, help="Which images a fraction takes.")
@click.option(
    "--classes",
    metavar="NAME|FILE",
    help="Take these classes only: a list that ships with backbench, or a file with a class a "
    "line. Default: every folder.",
)
@click.option("--absolute", is_flag=True, help="Write absolute paths, not those below ROOT.")
@click.option("--train", default="train", show_default=True, help="Name of the training folder.")
@click.option("--val", default="val", show_default=True, help="Name of the validation folder.")
def command(out: Path, fractions: list[Decimal], seed: int, **given: Any) -> None:
    """Write lists of images in the published form.

    A line `path label` an image. The training list has all images, or a fraction of each
    class: the same ones wherever the images lie, and a smaller fraction is part of a larger
    one. The validation list has all. A label is the rank of the class among the sorted ids.
    """
    classes, absolute = given.pop("classes"), given.pop("absolute")
    names = None if classes is None else class_sets.find_classes(classes)
    listing = ImageFolder(ImageFolderOptions(classes=names, **given)).listing
    common.say("note", listing.notes)
    for one in write_lists(listing, out, fractions, seed=seed, absolute=absolute):
        same = "" if one.is_new else " (there already)"
        images = f"{one.images:,} image{'' if one.images == 1 else 's'}"
        counts = f"{images}, {len(listing.classes)} classes"
        click.echo(f"{one.path}: {counts}, sha256 {one.sha256[:16]}{same}")
