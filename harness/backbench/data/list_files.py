"""The published form of a list of images: a line ``path label`` each."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from backbench.data.classes import read_text
from backbench.data.decode import IMAGE_SUFFIXES
from backbench.data.file_dataset import Listing
from backbench.data.many import list_problems
from backbench.errors import DataError
from backbench.options.base import count_of
from backbench.seeds import derive
from backbench.system import files

#: Names of the lists, as published.
TRAIN_NAME: Final = "train_ssl_{}_filelist.txt"
VAL_NAME: Final = "val_ssl_filelist.txt"

# The path ends with the first image suffix that a label follows, so that it may hold spaces.
_SUFFIX: Final = "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES))
_LABEL: Final = r"\s+([+-]?[0-9]{1,18})(?:\s|$)"
_BY_SUFFIX: Final = re.compile(rf"(.*?(?:{_SUFFIX})){_LABEL}", re.IGNORECASE)
_BY_COLUMN: Final = re.compile(rf"(\S+){_LABEL}")
_NUMBERS: Final = re.compile(r"[\s\d.+-]*")
#: Numbers of a line from which on a single 1 among zeros is a class; a box has two that are not 0.
_LEAST_ONE_HOT: Final = 3
_BREAKS: Final = frozenset("\n\r")


class Line(NamedTuple):
    """A line of a list: file, number from 1, path as given, path from the root, label."""

    file: Path
    number: int
    given: str
    path: str
    label: int

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"

    @property
    def folder(self) -> str:
        """Name of the folder that the image is in."""
        return os.path.basename(os.path.dirname(self.path))  # noqa: PTH119, PTH120 - many


class ImageList(NamedTuple):
    """A list as it was read.

    Args:
        file: The list.
        base: The folder of relative paths.
        lines: The lines.
        bad: What is no path and label.
        further: Lines that go on after the label with what is no number.
        one_hot: Number of columns where every line gives its class as the place of a single 1.
    """

    file: Path
    base: str
    lines: list[Line]
    bad: list[Line]
    further: list[Line]
    one_hot: int = 0

    @property
    def labels(self) -> list[int]:
        """The labels, in the order of the lines."""
        return [line.label for line in self.lines]


def parse_line(line: str) -> tuple[str, int] | None:
    """Take a line ``path label …`` apart; ``None`` if it is no such line.

    Columns after the label, such as a trigger's box, are passed over, unless they are another image
    and its label. A path may hold spaces if it ends with a known image suffix, and ends with the
    first such suffix that an integer follows; any other path ends at the first space.
    """
    match = _matched(line)
    return None if match is None else (match[1], int(match[2]))


def _matched(line: str) -> re.Match[str] | None:
    text = line.strip()
    match = _BY_SUFFIX.match(text) or _BY_COLUMN.match(text)
    return None if match is None or _BY_SUFFIX.match(text, match.end()) else match


def format_line(path: str, label: int, *columns: int) -> str:
    """Write a line that :func:`parse_line` takes apart again; a box is x, y, width and height."""
    line = " ".join([path, *map(str, (label, *columns))])
    if parse_line(line) != (path, label) or not _BREAKS.isdisjoint(path) or not _is_utf8(path):
        raise DataError(f"{path!r}: no list can hold this path; rename the file")
    return line


def read_list(path: Path, root: Path | None = None) -> ImageList:
    """Read a list, whose paths start from a root or its own folder; pass over blank lines."""
    base = os.path.abspath(path.parent if root is None else root)  # noqa: PTH100 - keeps no `..`
    found = ImageList(path, base, [], [], [])
    columns = set[int]()  # of each line; 0 where it has not one 1 among zeros
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        if (match := _matched(line)) is None:
            found.bad.append(Line(path, number, line.strip()[:80], "", -1))
            continue
        place = os.path.join(base, match[1])  # noqa: PTH118 - many
        found.lines.append(Line(path, number, match[1], place, int(match[2])))
        numbers = match.string[match.end(1) :].split()
        columns.add(len(numbers) if sorted(numbers) == ["0"] * (len(numbers) - 1) + ["1"] else 0)
        if not _NUMBERS.fullmatch(match.string, match.end()):
            found.further.append(Line(path, number, match.string[:80], place, -1))
    width = columns.pop() if len(columns) == 1 else 0
    return found._replace(one_hot=width if width >= _LEAST_ONE_HOT else 0)


def folders_by_label(lines: Sequence[Line]) -> dict[int, set[str]]:
    """Return the names of the folders that the images of each label are in, by ascending label."""
    folders: dict[int, set[str]] = {}
    for line in lines:
        folders.setdefault(line.label, set()).add(line.folder)
    return dict(sorted(folders.items()))


def folder_names(lines: Sequence[Line]) -> tuple[str, ...] | None:
    """Name the classes by the folders of their images, in the order of the labels.

    ``None`` if a label has several folders, or two labels share one.
    """
    folders = folders_by_label(lines).values()
    names = [name for group in folders for name in group]
    return tuple(names) if len(set(names)) == len(names) == len(folders) else None


@dataclass(frozen=True, slots=True)
class WrittenList:
    """A list on disk: its number of lines, the SHA-256 of its bytes, and whether it is new."""

    path: Path
    images: int
    sha256: str
    is_new: bool


def write_lists(
    listing: Listing,
    out: Path,
    fractions: Sequence[Decimal] = (Decimal(1),),
    *,
    seed: int = 0,
    absolute: bool = False,
) -> list[WrittenList]:
    """Write a training list for each fraction, then the whole validation list.

    Args:
        listing: The images of an image folder.
        out: Folder for the lists; made if it is not there.
        fractions: Of each class's training images, in (0, 1]; rounded down, at least one.
        seed: Which images a fraction takes.
        absolute: Write absolute paths, not those below the dataset's root.

    Raises:
        DataError: If a list is there with other content, or a list cannot hold a path;
            nothing was written.

    Source: Saha et al. 2022, published code, ``create_dataset_filelist.py``: form, names, order
        of the classes.
    Differs: The published script takes the first files in the order of the file system, and a
        fraction of the validation images too; its labels count the folders that are there.
    """
    lines = {}
    for split, files_of in (("train", listing.train), ("val", listing.val)):
        paths = map(os.path.abspath, files_of.paths) if absolute else files_of.sources
        lines[split] = _lines(zip(paths, files_of.labels.tolist(), strict=True))
    contents = {}
    for fraction in fractions:
        taken = choose(listing, fraction, seed)
        name = TRAIN_NAME.format(f"{fraction.normalize():f}")
        contents[out / name] = [lines["train"][i] for i in taken]
    contents[out / VAL_NAME] = lines["val"]
    texts = {path: ("\n".join(rows) + "\n").encode() for path, rows in contents.items()}
    there = {path for path in texts if path.exists()}
    different = [path for path in texts if path in there and path.read_bytes() != texts[path]]
    if different:
        head = "Lists with other content are there; remove them or choose another folder"
        raise DataError(list_problems(head, list(map(str, different))))
    for path, text in texts.items():
        if path not in there:
            files.write(path, text)
    return [
        WrittenList(path, len(contents[path]), hashlib.sha256(text).hexdigest(), path not in there)
        for path, text in texts.items()
    ]


def choose(listing: Listing, fraction: Decimal, seed: int) -> list[int]:
    """Choose a fraction, in (0, 1], of the training images of each class; return their positions.

    Each image gets a number from the seed, its class and its name below the class's folder; the
    lowest numbers are taken. So the choice is the same wherever the images lie, a smaller
    fraction is part of a larger one, and an image more or less changes one choice at most.
    A fraction is rounded down, to at least one image a class.
    """
    if fraction == 1:
        return list(range(len(listing.train)))
    taken: list[int] = []
    for label, name in enumerate(listing.classes):
        members = np.flatnonzero(listing.train.labels == label).tolist()
        count = max(1, count_of(fraction, len(members)))
        # A source is split/class/name.
        names = {i: listing.train.sources[i].partition(f"/{name}/")[2] for i in members}
        ranked = sorted(members, key=lambda i: (derive(seed, "filelist", name, names[i]), names[i]))
        taken += ranked[:count]
    return sorted(taken)


def _lines(rows: Iterable[tuple[str, int]]) -> list[str]:
    lines, problems = [], []
    for path, label in rows:
        try:
            lines.append(format_line(path, label))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(list_problems("The lists cannot be written", problems))
    return lines


def _is_utf8(path: str) -> bool:
    """Return whether a name is text, not other bytes that a file system allows."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
