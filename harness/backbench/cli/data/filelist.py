"""``backbench data filelist``."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from backbench.cli import common
from backbench.cli.options.folder import folder_options, image_folder
from backbench.cli.options.fractions import fraction_option
from backbench.cli.options.paths import UserPath
from backbench.data.list_files import write_lists


@click.command("filelist")
@folder_options
@click.option("--out", type=UserPath(file_okay=False), required=True, help="Folder for the lists.")
@fraction_option
@click.option("--seed", default=0, show_default=True, help="Which images a fraction takes.")
@click.option("--absolute", is_flag=True, help="Write absolute paths, not those below ROOT.")
def command(
    out: Path, fractions: list[Decimal], seed: int, *, absolute: bool, **given: Any
) -> None:
    """Write lists of images in the published form.

    A line `path label` an image. The training list has all images, or a fraction of each
    class: the same ones wherever the images lie, and a smaller fraction is part of a larger
    one. The validation list has all. A label is the rank of the class among the sorted ids.
    """
    listing = image_folder(**given).listing
    common.say("note", listing.notes)
    for one in write_lists(listing, out, fractions, seed=seed, absolute=absolute):
        same = "" if one.is_new else " (there already)"
        images = f"{one.images:,} image{'' if one.images == 1 else 's'}"
        counts = f"{images}, {len(listing.classes)} classes"
        click.echo(f"{one.path}: {counts}, sha256 {one.sha256[:16]}{same}")
