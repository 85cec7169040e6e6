"""Options for the folder of images that ``data filelist`` reads."""

from __future__ import annotations

from typing import Any

import click

from backbench.cli.options.paths import UserPath
from backbench.cli.options.shared import together
from backbench.data import classes as class_sets
from backbench.data.dataset_options import ImageFolderOptions
from backbench.data.folder import ImageFolder
from backbench.errors import UsageError

folder_options = together(
    click.option(
        "--root",
        type=UserPath(file_okay=False),
        required=True,
        help="The images: train and val, with a folder a class in each.",
    ),
    click.option(
        "--classes",
        metavar="NAME|FILE",
        help="Take these classes only: a list that ships with backbench, or a file with a class a "
        "line. Default: every folder.",
    ),
    click.option(
        "--train", default="train", show_default=True, help="Name of the training folder."
    ),
    click.option("--val", default="val", show_default=True, help="Name of the validation folder."),
)


def image_folder(classes: str | None, **given: Any) -> ImageFolder:
    """Return the folder that :data:`folder_options` name.

    Raises:
        UsageError: If no folder can have a name, or a list of classes cannot be read.
    """
    from pydantic import ValidationError

    names = None if classes is None else class_sets.find_classes(classes)
    try:
        return ImageFolder(ImageFolderOptions(classes=names, **given))
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        message = wrong["msg"].removeprefix("Value error, ")
        raise UsageError(f"--{wrong['loc'][0]}: {message} (given: {wrong['input']!r})") from error
