"""A folder of pictures: ``train/<class>/*`` and ``val/<class>/*``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from backbench.data.decode import PICTURE_SUFFIXES
from backbench.data.files import LabelledFiles, list_faults, spread
from backbench.data.listing import FileDataset, Listing
from backbench.data.options import ImageFolderOptions
from backbench.errors import DataError


class ImageFolder(FileDataset):
    """Two folders with a folder a class in each.

    A label is the rank of its class among the sorted class names. Pictures are known by their
    file name's ending, sorted by path, and found in nested folders too; hidden files and
    folders are passed over.

    Args:
        options: Where it is, and what to take of it.
    """

    options: ImageFolderOptions

    def list_files(self) -> Listing:
        """Find the pictures.

        Raises:
            DataError: If a folder is missing, a class stands in one split only or is empty, or
                pictures lie outside the class folders.
        """
        root = self.options.root
        limits = {
            self.options.train: self.options.train_per_class,
            self.options.val: self.options.val_per_class,
        }
        missing = [split for split in limits if not (root / split).is_dir()]
        if missing:
            raise DataError(_say_missing(root, missing))
        found = {split: _classes(root / split) for split in limits}
        faults = list(_faults(root, found))
        if faults:
            raise DataError(list_faults(f"{root} is not a folder a class", faults))
        train, val = (_files(root, split, found[split], limit) for split, limit in limits.items())
        return Listing(tuple(found[self.options.train]), train, val)


def _classes(split: Path) -> dict[str, list[str]]:
    """Return the paths of the pictures in each class folder, both sorted."""
    with os.scandir(split) as entries:
        names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    return {name: sorted(_pictures(split / name)) for name in names}


def _pictures(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if _is_picture(name):
                yield f"{place}{os.sep}{name}"


def _is_picture(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - 60,000 at a time
    return suffix in PICTURE_SUFFIXES and not name.startswith(".")


def _files(
    root: Path, split: str, classes: dict[str, list[str]], limit: int | None
) -> LabelledFiles:
    taken = [[paths[i] for i in spread(len(paths), limit)] for paths in classes.values()]
    paths = [path for group in taken for path in group]
    start = len(str(root / split)) + 1
    sources = [f"{split}/{path[start:].replace(os.sep, '/')}" for path in paths]
    labels = np.repeat(np.arange(len(taken)), [len(group) for group in taken])
    return LabelledFiles(paths, sources, labels.astype(np.int64))


def _faults(root: Path, found: dict[str, dict[str, list[str]]]) -> Iterator[str]:
    for split, classes in found.items():
        with os.scandir(root / split) as entries:
            loose = sum(entry.is_file() and _is_picture(entry.name) for entry in entries)
        if loose:
            yield f"{split}: {loose} pictures lie outside the class folders; move or remove them"
        if not classes:
            yield f"{split}: there is no class folder in it"
        for name, paths in classes.items():
            if not paths:
                yield f"{split}/{name}: there is no picture in it; add some or remove the folder"
    (train, in_train), (val, in_val) = found.items()
    for name in sorted(in_train.keys() ^ in_val.keys()):
        here, there = (train, val) if name in in_train else (val, train)
        yield f"class {name!r} is in {here} and not in {there}"


def _say_missing(root: Path, missing: list[str]) -> str:
    if not root.is_dir():
        return f"{root}: no such folder; set root to the folder that holds {' and '.join(missing)}"
    names = sorted(e.name for e in root.iterdir() if e.is_dir() and not e.name.startswith("."))
    there = f"it has {', '.join(names[:20])}" if names else "it has no folders"
    return (
        f"{root}: no folder {' and no folder '.join(map(repr, missing))} in it ({there}); "
        "name the splits with the options train and val"
    )
