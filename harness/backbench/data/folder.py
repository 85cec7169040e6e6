"""A folder of images: ``train/<class>/*`` and ``val/<class>/*``."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backbench.data.classes import class_list
from backbench.data.dataset_options import ImageFolderOptions
from backbench.data.file_dataset import FileDataset, Listing
from backbench.data.files import LabelledFiles
from backbench.data.image_files import PassedOver, Scan, SplitScan, scan_class, scan_split
from backbench.data.many import list_problems, spread
from backbench.errors import DataError


class ImageFolder(FileDataset):
    """Two folders with a folder a class in each.

    A label is the rank of its class among the sorted names of the classes that are taken.
    Images are known by their file name's ending, sorted by path, and found in nested folders
    too; what is passed over is counted: see :mod:`backbench.data.image_files`.
    """

    options: ImageFolderOptions

    def list_files(self) -> Listing:
        """Find the images.

        Raises:
            DataError: If a folder is missing or cannot be read, a class is in one split only
                or is empty, or images lie outside the class folders.
        """
        root = self.options.root
        limits = {
            self.options.train: self.options.train_per_class,
            self.options.val: self.options.val_per_class,
        }
        missing = [split for split in limits if not os.path.isdir(root / split)]  # noqa: PTH112
        if missing:
            raise DataError(_say_missing(root, missing))
        named = self.options.classes
        wanted = class_list(named) if isinstance(named, str) else named
        splits = {split: _Split.read(root / split, wanted) for split in limits}
        problems = list(_problems(root, splits, wanted))
        if problems:
            raise DataError(list_problems(f"{root} is not a folder a class", problems))
        train, val = (
            _files(root, split, splits[split].classes, limit) for split, limit in limits.items()
        )
        passed = PassedOver()
        for split in splits.values():
            passed.extend(split.around.passed)
            for one in split.classes.values():
                passed.extend(one.passed)
        classes = tuple(splits[self.options.train].classes)
        return Listing(classes, train, val, passed.sentences(root))


@dataclass(frozen=True, slots=True)
class _Split:
    """A split's folder, and those of the classes that are taken of it."""

    around: SplitScan
    classes: dict[str, Scan]

    @classmethod
    def read(cls, split: Path, wanted: Collection[str] | None) -> _Split:
        around = scan_split(split)
        taken = [name for name in around.classes if wanted is None or name in wanted]
        return cls(around, {name: scan_class(split / name) for name in taken})


def _files(root: Path, split: str, classes: Mapping[str, Scan], limit: int | None) -> LabelledFiles:
    taken = [[one.images[i] for i in spread(len(one.images), limit)] for one in classes.values()]
    paths = [path for group in taken for path in group]
    start = len(str(root / split)) + 1
    sources = [f"{split}/{path[start:].replace(os.sep, '/')}" for path in paths]
    labels = np.repeat(np.arange(len(taken)), [len(group) for group in taken])
    return LabelledFiles(paths, sources, labels.astype(np.int64))


def _problems(
    root: Path, splits: Mapping[str, _Split], wanted: Collection[str] | None
) -> Iterator[str]:
    for split, found in splits.items():
        loose, classes = found.around.loose, found.classes
        if loose and not classes:
            yield (
                f"{split}: its {loose} images are not sorted by class; sort them into folders, "
                "named as those of the other split"
            )
        elif loose:
            yield f"{split}: {loose} images lie outside the class folders; move or remove them"
        if wanted is not None and (classes or not loose):
            missing = sorted(set(wanted) - classes.keys())
            if missing:
                yield (
                    f"{split}: there is no folder for {len(missing)} of the {len(wanted)} classes: "
                    f"{', '.join(missing)}"
                )
        elif not classes and not loose:
            yield f"{split}: there is no class folder in it"
        for one in classes.values():
            yield from one.problems
        yield from _empty(root, split, classes)
        yield from shared_folders(split, classes)
    if wanted is None:
        yield from _unmatched(splits)


def _empty(root: Path, split: str, classes: Mapping[str, Scan]) -> Iterator[str]:
    """Name the classes without an image, and what lies in their folders."""
    empty = [name for name, one in classes.items() if not one.images and not one.problems]
    passed = PassedOver()
    for name in empty:
        passed.extend(classes[name].passed)
    if empty:
        what = empty[0] if len(empty) == 1 else f"{{{some_of(empty)}}}"
        said = "; ".join(passed.sentences(root))
        yield (
            f"{split}/{what}: there is no image in it; add some or remove the folder"
            + (f" ({said})" if said else "")
        )


def shared_folders(split: str, classes: Mapping[str, Scan]) -> Iterator[str]:
    """Name folders that links put into two classes."""
    first: dict[tuple[int, int], str] = {}
    for name, one in classes.items():
        for mark, place in one.folders.items():
            other = first.setdefault(mark, name)
            if other != name:
                yield (
                    f"{split}: {place} is a folder of class {other!r} too, by a link: its images "
                    "would have two labels; remove the link"
                )


def _unmatched(splits: Mapping[str, _Split]) -> Iterator[str]:
    """Name the classes of one split only."""
    (train, in_train), (val, in_val) = splits.items()
    here, there = in_train.classes.keys(), in_val.classes.keys()
    if not here or not there:
        return
    twins = {_plain(name): name for name in sorted(there - here)}
    pairs = {name: twins[_plain(name)] for name in sorted(here - there) if _plain(name) in twins}
    if pairs:
        first, other = next(iter(pairs.items()))
        yield (
            f"{len(pairs)} classes differ between {train} and {val} only in upper and lower case, "
            f"blanks or Unicode form ({first!a}, {other!a}); rename the folders of one"
        )
    elif not here & there:
        yield (
            f"{train} and {val} have no class in common: {train} has {some_of(here)}, {val} has "
            f"{some_of(there)}; sort the images of {val} into folders named as those of {train}"
        )
        return
    for split, other_split, odd in (
        (train, val, here - there - pairs.keys()),
        (val, train, there - here - {*pairs.values()}),
    ):
        if len(odd) == 1:
            yield f"class {some_of(odd)!r} is in {split} and not in {other_split}"
        elif odd:
            names = some_of(sorted(odd))
            yield f"{len(odd)} classes are in {split} and not in {other_split}: {names}"


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def some_of(names: Collection[str]) -> str:
    """Name up to five, and count the others."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join([*names][:5]) + more


def _say_missing(root: Path, missing: list[str]) -> str:
    if not os.path.isdir(root):  # noqa: PTH112 - a name that is too long is no folder either
        return f"{root}: no such folder; set root to the folder that holds {' and '.join(missing)}"
    names = scan_split(root).classes
    there = f"it has {', '.join(names[:20])}" if names else "it has no folders"
    return (
        f"{root}: no folder {' and no folder '.join(map(repr, missing))} in it ({there}); "
        "name the splits with the options train and val"
    )
