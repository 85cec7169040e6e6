"""``backbench data``."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from backbench.data import classes as class_sets
from backbench.data.contents import Contents, look_at
from backbench.data.dataset_options import ImageFolderOptions
from backbench.data.folder import ImageFolder
from backbench.data.lists import write_lists
from backbench.data.subset import make_subset, plan_subset

#: Seconds between two plain lines about a copy.
_PLAIN_EVERY_S = 30.0


def _fractions(
    _context: click.Context, _option: click.Parameter, texts: Sequence[str]
) -> list[Decimal]:
    """Read parts of a whole: ``0.01`` or ``1%``."""
    numbers = []
    for text in texts:
        try:
            number = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
            is_part = 0 < number <= 1
        except InvalidOperation:  # no number, or none that compares
            is_part = False
        if not is_part:
            raise click.BadParameter(f"{text!r} is not a fraction: say 0.01, 1% or, for all, 1")
        numbers.append(number)
    return list(dict.fromkeys(numbers))


_FOLDER = click.Path(path_type=Path, file_okay=False)

_out_option = click.option("--out", type=_FOLDER, required=True, help="Folder to make.")


@click.group("data", no_args_is_help=True)
def command() -> None:
    """Make ImageNet-100 and file lists; name a set of classes."""


@command.command("imagenet100")
@click.option(
    "--imagenet",
    "source",
    type=_FOLDER,
    required=True,
    help="ImageNet: train and val, with a folder a class in each.",
)
@_out_option
@click.option("--link", is_flag=True, help="Link the class folders; copy nothing.")
@click.option(
    "--classes",
    metavar="NAME|FILE",
    default="imagenet100",
    show_default=True,
    help="Which classes: a list that ships with backbench, or a file with a class a line.",
)
def imagenet100(source: Path, out: Path, link: bool, classes: str) -> None:  # noqa: FBT001
    """Take the classes of ImageNet-100 out of ImageNet.

    Images are copied as they are. Interrupted and run again, it continues. Missing classes are
    named before anything is written, and so is what OUT holds and would not be made.
    """
    names = class_sets.find_classes(classes)
    subset = plan_subset(source, out, names, link=link)
    with _progress("copying", subset.missing_bytes) as advance:
        make_subset(subset, advance)
    train, val = (len(subset.images[split]) for split in ("train", "val"))
    if link:
        done = f"{len(subset.links)} folders linked"
    else:
        done = f"{_count(len(subset.missing), 'image')} copied"
    click.echo(
        f"{out}: {len(names)} classes, {train:,} training and {val:,} validation images, "
        f"{_size(subset.total_bytes)} ({done}); fingerprint {class_sets.fingerprint(names)[:16]} "
        f"({_short(names)})"
    )
    _warn_of_sizes(names, train, val)


@command.command("filelist")
@click.option(
    "--root",
    type=_FOLDER,
    required=True,
    help="The images: train and val, with a folder a class in each.",
)
@click.option("--out", type=_FOLDER, required=True, help="Folder for the lists.")
@click.option(
    "--fraction",
    "fractions",
    callback=_fractions,
    multiple=True,
    default=["1"],
    show_default="1",
    metavar="FRACTION",
    help="Part of each class's training images, 0.01 or 1%; may be given several times.",
)
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
def filelist(  # noqa: PLR0917 - click passes them by name
    root: Path,
    out: Path,
    fractions: Sequence[Decimal],
    seed: int,
    classes: str | None,
    absolute: bool,  # noqa: FBT001
    train: str,
    val: str,
) -> None:
    """Write lists of images in the published form.

    A line `path label` an image. The training list has all images, or a fraction of each
    class: the same ones wherever the images lie, and a smaller fraction is part of a larger
    one. The validation list has all. A label is the rank of the class among the sorted ids.
    """
    names = None if classes is None else class_sets.find_classes(classes)
    options = ImageFolderOptions(root=root, train=train, val=val, classes=names)
    listing = ImageFolder(options).listing
    for one in write_lists(listing, out, fractions, seed=seed, absolute=absolute):
        same = "" if one.is_new else " (there already)"
        click.echo(
            f"{one.path}: {_count(one.images, 'image')}, {len(listing.classes)} classes, "
            f"sha256 {one.sha256[:16]}{same}"
        )


@command.command("fingerprint")
@click.argument("path", metavar="PATH|NAME")
def fingerprint(path: str) -> None:
    """Say which known set of classes PATH holds.

    PATH is a folder with train and val, or with a folder a class; a list of images; a list of
    classes; or the name of a class list that ships with backbench.
    """
    contents = look_at(path)
    rows: list[tuple[str, str]] = [("what", contents.kind)]
    names = contents.classes
    if names is not None:
        rows += [
            ("classes", f"{len(names):,}"),
            ("fingerprint", class_sets.fingerprint(names)),
            ("variant", class_sets.describe(names)),
        ]
    rows += [(split, _split(counts)) for split, counts in contents.splits.items()]
    rows += [("note", problem) for problem in contents.problems]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        click.echo(f"{name:<{width}}  {text}")
    _warn_of_contents(contents)


def _split(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{_count(sum(counts), 'image')}, {each} a class"


def _warn_of_contents(contents: Contents) -> None:
    if contents.classes is not None and contents.splits.keys() == {"train", "val"}:
        train, val = (sum(counts) for counts in contents.splits.values())
        _warn_of_sizes(contents.classes, train, val)


def _warn_of_sizes(names: Sequence[str], train: int, val: int) -> None:
    """Say on stderr that a known set lacks images, or has too many."""
    known = class_sets.VARIANTS.get(class_sets.fingerprint(names))
    if known is not None and known.images is not None and known.images != (train, val):
        whole = "{:,} training and {:,} validation images".format(*known.images)
        click.echo(f"note: the published {known.name} has {whole}", err=True)


def _short(names: Sequence[str]) -> str:
    return re.split("[:;]", class_sets.describe(names))[0]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(count: int) -> str:
    """Write a number of bytes as people do."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}"


@contextmanager
def _progress(what: str, total: int) -> Iterator[Any]:
    """Show on stderr how far a copy is; yield what to call with the bytes of each file."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)
        return
    lock, done, said = threading.Lock(), 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, said
        with lock:
            done += count
            if time.monotonic() - said >= _PLAIN_EVERY_S:
                said = time.monotonic()
                click.echo(f"  … {what}: {_size(done)} of {_size(total)}", err=True)

    yield advance
