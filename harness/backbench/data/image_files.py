"""Image files below a folder, and the files passed over: one rule for all who look."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from backbench.data.decode import IMAGE_SUFFIXES
from backbench.errors import DataError
from backbench.system.files import is_of_system

_HIDDEN: Final = "hidden files"
_FOLDERS: Final = "hidden and system folders"
_TWICE: Final = "links to folders that are read already"
_SHOWN: Final = 6
_LONGEST: Final = 16

#: The system's numbers for a folder, whatever its names.
_Id = tuple[int, int]


@dataclass(slots=True)
class PassedOver:
    """Numbers of files and folders not taken for images, by the reason, and the first of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, path: str) -> None:
        """Count a file or folder."""
        self.counts[reason] += 1
        self.examples.setdefault(reason, path)

    def extend(self, other: PassedOver) -> None:
        """Add what was passed over elsewhere."""
        self.counts.update(other.counts)
        self.examples = other.examples | self.examples

    def sentences(self, base: Path) -> tuple[str, ...]:
        """Report what was passed over, with examples relative to ``base``; empty if nothing was."""
        if not self.counts:
            return ()
        parts = [
            f"{reason} {count} ({os.path.relpath(self.examples[reason], base)})"
            for reason, count in self.counts.most_common(_SHOWN)
        ]
        more = len(self.counts) - _SHOWN
        tail = f", and {more} more kinds" if more > 0 else ""
        total = self.counts.total()
        what = "1 file or folder is" if total == 1 else f"{total:,} files or folders are"
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        return (f"{what} passed over: {', '.join(parts)}{tail}; images end with one of {suffixes}",)


@dataclass(slots=True)
class Scan:
    """Content of the folder of a class: sorted images, other things, and the folders."""

    images: list[str] = field(default_factory=list)
    passed: PassedOver = field(default_factory=PassedOver)
    problems: list[str] = field(default_factory=list)
    folders: dict[_Id, str] = field(default_factory=dict)


@dataclass(slots=True)
class SplitScan:
    """Entries of the folder of a split: sorted folders, images, other things.

    Hidden and system folders are no classes; ``loose`` is the number of images beside the folders.
    """

    classes: list[str] = field(default_factory=list)
    loose: int = 0
    passed: PassedOver = field(default_factory=PassedOver)


def reason_to_pass(name: str) -> str | None:
    """Return why a file of this name is not taken for an image; ``None`` if it is."""
    if name.startswith("."):
        return _HIDDEN
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - 60,000 at a time
    if suffix in IMAGE_SUFFIXES:
        return None
    return suffix[:_LONGEST] if suffix else "no suffix"


def is_passed_folder(name: str) -> bool:
    """Return whether a folder of this name is hidden, or made by a system."""
    return name.startswith(".") or is_of_system(name)


def scan_split(split: Path) -> SplitScan:
    """Look for class folders."""
    found = SplitScan()
    try:
        with os.scandir(split) as listed:
            entries = list(listed)
    except OSError as error:
        raise DataError(_say(str(split), error)) from error
    for entry in entries:
        if _is_folder(entry):
            if is_passed_folder(entry.name):
                found.passed.add(_FOLDERS, entry.path)
            else:
                found.classes.append(entry.name)
        elif (reason := reason_to_pass(entry.name)) is not None:
            found.passed.add(reason, entry.path)
        else:
            found.loose += 1
    found.classes.sort()
    return found


def scan_class(folder: Path) -> Scan:
    """Look for the images of a class, in nested folders too.

    Links to folders are followed, each folder once; a link upwards leads nowhere.
    """
    found = Scan()
    above = {*folder.absolute().parents, *folder.resolve().parents}
    seen = {_id(str(place)) for place in above}
    plain, links = [str(folder)], list[str]()
    while plain or links:
        place = plain.pop() if plain else links.pop()
        try:
            mark = _id(place)
            if mark in seen:
                found.passed.add(_TWICE, place)
                continue
            seen.add(mark)
            found.folders[mark] = place
            with os.scandir(place) as listed:
                entries = list(listed)
        except OSError as error:
            found.problems.append(_say(place, error))
            continue
        below = []
        for entry in entries:
            if _is_folder(entry):
                if is_passed_folder(entry.name):
                    found.passed.add(_FOLDERS, entry.path)
                elif entry.is_symlink():
                    below.append(entry.path)
                else:
                    plain.append(entry.path)
            elif (reason := reason_to_pass(entry.name)) is not None:
                found.passed.add(reason, entry.path)
            elif _is_file(entry):
                found.images.append(entry.path)
            else:
                wrong = list(unreadable([entry.path]))
                found.problems += wrong or [f"{entry.path}: not a regular file"]
        links += sorted(below, reverse=True)
    found.images.sort()
    found.problems += unreadable(found.images)
    return found


def unreadable(paths: Iterable[str]) -> Iterator[str]:
    """Report the files that are missing, or cannot be read."""
    for path in paths:
        if not os.access(path, os.R_OK):
            try:
                os.stat(path)  # noqa: PTH116 - a path is slower
                yield f"{path}: permission denied"
            except OSError as error:
                yield _say(path, error)


def images_of(folder: Path) -> list[str]:
    """Return the paths of the images of a class; a DataError if some cannot be read."""
    found = scan_class(folder)
    if found.problems:
        raise DataError("\n  ".join(found.problems))
    return found.images


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # a link in a circle
        return entry.is_dir()
    return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        return entry.is_file()
    return False


def _id(folder: str) -> _Id:
    stat = os.stat(folder)  # noqa: PTH116 - a path is slower
    return stat.st_dev, stat.st_ino


def _say(path: str, error: OSError) -> str:
    return f"{path}: {(error.strerror or str(error)).lower()}"
