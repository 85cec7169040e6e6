"""A folder of images: ``train/<class>/*`` and ``val/<class>/*``."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from backbench.data.classes import class_list
from backbench.data.dataset_options import ImageFolderOptions
from backbench.data.decode import IMAGE_SUFFIXES
from backbench.data.files import LabelledFiles, list_problems, spread
from backbench.data.listing import FileDataset, Listing
from backbench.errors import DataError


class ImageFolder(FileDataset):
    """Two folders with a folder a class in each.

    A label is the rank of its class among the sorted names of the classes that are taken.
    Images are known by their file name's ending, sorted by path, and found in nested folders
    too; hidden files and folders are passed over.

    Args:
        options: Where it is, and what to take of it.
    """

    options: ImageFolderOptions

    def list_files(self) -> Listing:
        """Find the images.

        Raises:
            DataError: If a folder is missing, a class is in one split only or is empty, or
                images lie outside the class folders.
        """
        root = self.options.root
        limits = {
            self.options.train: self.options.train_per_class,
            self.options.val: self.options.val_per_class,
        }
        missing = [split for split in limits if not (root / split).is_dir()]
        if missing:
            raise DataError(_say_missing(root, missing))
        wanted = _wanted(self.options.classes)
        found = {split: _classes(root / split, wanted) for split in limits}
        problems = list(_problems(root, found, wanted))
        if problems:
            raise DataError(list_problems(f"{root} is not a folder a class", problems))
        train, val = (_files(root, split, found[split], limit) for split, limit in limits.items())
        return Listing(tuple(found[self.options.train]), train, val)


def _wanted(classes: Sequence[str] | str | None) -> frozenset[str] | None:
    """Return the classes to take; ``None`` for all."""
    if classes is None:
        return None
    return frozenset(class_list(classes) if isinstance(classes, str) else classes)


def _classes(split: Path, wanted: Collection[str] | None) -> dict[str, list[str]]:
    """Return the paths of the images in each class folder, both sorted."""
    names = class_folders(split)
    taken = names if wanted is None else [name for name in names if name in wanted]
    return {name: sorted(images_in(split / name)) for name in taken}


def class_folders(split: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones.

    Args:
        split: ``train``, say.
    """
    with os.scandir(split) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def loose_images(split: Path) -> int:
    """Count the images that lie beside the class folders.

    Args:
        split: ``train``, say.
    """
    with os.scandir(split) as entries:
        return sum(entry.is_file() and _is_image(entry.name) for entry in entries)


def images_in(folder: Path) -> Iterator[str]:
    """Yield the paths of the images of a class, in nested folders too.

    Args:
        folder: Of the class.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if _is_image(name):
                yield f"{place}{os.sep}{name}"


def _is_image(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - 60,000 at a time
    return suffix in IMAGE_SUFFIXES and not name.startswith(".")


def _files(
    root: Path, split: str, classes: dict[str, list[str]], limit: int | None
) -> LabelledFiles:
    taken = [[paths[i] for i in spread(len(paths), limit)] for paths in classes.values()]
    paths = [path for group in taken for path in group]
    start = len(str(root / split)) + 1
    sources = [f"{split}/{path[start:].replace(os.sep, '/')}" for path in paths]
    labels = np.repeat(np.arange(len(taken)), [len(group) for group in taken])
    return LabelledFiles(paths, sources, labels.astype(np.int64))


def _problems(
    root: Path, found: dict[str, dict[str, list[str]]], wanted: Collection[str] | None
) -> Iterator[str]:
    for split, classes in found.items():
        loose = loose_images(root / split)
        if loose:
            yield f"{split}: {loose} images lie outside the class folders; move or remove them"
        if wanted is not None:
            missing = sorted(set(wanted) - classes.keys())
            if missing:
                yield (
                    f"{split}: there is no folder for {len(missing)} of the {len(wanted)} classes: "
                    f"{', '.join(missing)}"
                )
        elif not classes:
            yield f"{split}: there is no class folder in it"
        for name, paths in classes.items():
            if not paths:
                yield f"{split}/{name}: there is no image in it; add some or remove the folder"
    if wanted is not None:
        return
    (train, in_train), (val, in_val) = found.items()
    for name in sorted(in_train.keys() ^ in_val.keys()):
        here, there = (train, val) if name in in_train else (val, train)
        yield f"class {name!r} is in {here} and not in {there}"


def _say_missing(root: Path, missing: list[str]) -> str:
    if not root.is_dir():
        return f"{root}: no such folder; set root to the folder that holds {' and '.join(missing)}"
    names = class_folders(root)
    there = f"it has {', '.join(names[:20])}" if names else "it has no folders"
    return (
        f"{root}: no folder {' and no folder '.join(map(repr, missing))} in it ({there}); "
        "name the splits with the options train and val"
    )
