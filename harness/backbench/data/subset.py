"""Some classes of a whole image folder, copied or linked: ImageNet-100 out of ImageNet."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Final

from backbench.data.dataset_options import ImageFolderOptions
from backbench.data.folder import ImageFolder
from backbench.data.image_files import images_of, scan_split
from backbench.data.many import list_problems, map_threads
from backbench.errors import DataError
from backbench.system.files import replacing
from backbench.system.locks import alone_in

SPLITS: Final = ("train", "val")


@dataclass(frozen=True, slots=True)
class Subset:
    """The tree to make, compared with the files that are there; notes on what was passed over.

    ``images`` counts those of the sorted classes by split. Either ``missing`` images are to be
    copied, ``train/n01440764/n01440764_18.JPEG``, or class folders are to be linked,
    ``train/n01440764``.
    """

    source: Path
    out: Path
    classes: tuple[str, ...]
    images: dict[str, int]
    missing: list[str]
    links: list[str]
    notes: tuple[str, ...]


def plan_subset(source: Path, out: Path, classes: Sequence[str], *, link: bool) -> Subset:
    """Compare both trees, with ``train`` and ``val``, a folder a class in each; nothing is written.

    An image that is there with the size of the original is complete, since images are moved
    into place when they are; so an interrupted copy is resumed. With ``link`` a symbolic link is
    made to each class folder, and nothing is copied.

    Raises:
        DataError: Naming every problem: classes that the source lacks, and existing files
            that would not be made.
    """
    names = tuple(sorted(classes))
    listing = ImageFolder(ImageFolderOptions(root=source, classes=names)).listing
    files = [*listing.train.sources, *listing.val.sources]
    folders = [f"{split}/{name}" for split in SPLITS for name in names]
    problems = list(_surplus(out, set(folders)))
    if out.exists() and out.samefile(source):
        problems.append("it is the source itself")
    missing: list[str] = []
    if link:
        problems += _link_problems(source, out, folders)
    else:
        linked = [folder for folder in folders if (out / folder).is_symlink()]
        problems += [f"{one}: is a link; a copy would change the source" for one in linked]
        if not linked:
            absent = map_threads(lambda one: not (out / one).exists(), files)
            missing = list(compress(files, absent))
            problems += _changed(source, out, files, set(missing), folders)
    if problems:
        head = f"{out} holds something else; choose another folder, or remove what is named"
        raise DataError(list_problems(head, problems))
    links = [one for one in folders if not (out / one).is_symlink()] if link else []
    images = {"train": len(listing.train), "val": len(listing.val)}
    return Subset(source, out, names, images, missing, links, listing.notes)


def make_subset(subset: Subset, advance: Callable[[int], None]) -> None:
    """Copy the missing images, on as many threads as there are cores, or make the links.

    ``advance`` is called from any thread with the number of images that were copied.
    """
    out = subset.out
    with alone_in(out):
        for folder in subset.links:
            link = out / folder
            link.parent.mkdir(exist_ok=True)
            link.symlink_to((subset.source / folder).resolve(), target_is_directory=True)
        for parent in {(out / name).parent for name in subset.missing}:
            parent.mkdir(parents=True, exist_ok=True)

        def copy(name: str) -> None:
            _copy(subset.source / name, out / name)
            advance(1)

        map_threads(copy, subset.missing, chunk=8)


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its time of change; it is never seen half-written."""
    with replacing(target, durable=False) as partial:
        shutil.copyfile(source, partial)
        changed = source.stat()
        os.utime(partial, ns=(changed.st_atime_ns, changed.st_mtime_ns))


def _surplus(out: Path, folders: set[str]) -> Iterator[str]:
    """Name the class folders that would not be made."""
    for split in SPLITS:
        there = out / split
        if there.is_symlink() or (there.exists() and not there.is_dir()):
            yield f"{split}: is not a folder of its own"
        elif there.is_dir():
            for name in scan_split(there).classes:
                if f"{split}/{name}" not in folders:
                    yield f"{split}/{name}: is not one of the classes"


def _link_problems(source: Path, out: Path, folders: Sequence[str]) -> Iterator[str]:
    for folder in folders:
        there = out / folder
        if there.is_symlink():
            if not (there.exists() and there.samefile(source / folder)):
                yield f"{folder}: is a link to {there.readlink()}"
        elif there.exists():
            yield f"{folder}: is a folder of its own, not a link"


def _changed(
    source: Path, out: Path, files: Sequence[str], missing: set[str], folders: Sequence[str]
) -> Iterator[str]:
    """Name the images that have another size than in the source, or are not in it."""
    there = [name for name in files if name not in missing]

    def sizes(name: str) -> tuple[int, int]:
        return (out / name).stat().st_size, (source / name).stat().st_size

    for name, (size, wanted) in zip(there, map_threads(sizes, there), strict=True):
        if size != wanted:
            yield f"{name}: has {size:,} bytes, not {wanted:,}"
    known, start = set(files), len(str(out)) + 1
    for folder in filter(lambda one: (out / one).exists(), folders):
        for path in sorted(images_of(out / folder)):
            name = path[start:].replace(os.sep, "/")
            if name not in known:
                yield f"{name}: is not in the source"
