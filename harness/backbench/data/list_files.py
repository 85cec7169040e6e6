"""The published form of a list of images: a line ``path label`` each."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np

from backbench.data.classes import read_text
from backbench.data.decode import IMAGE_SUFFIXES
from backbench.data.file_dataset import Listing
from backbench.data.files import list_problems
from backbench.errors import DataError
from backbench.options.base import count_of
from backbench.seeds import derive
from backbench.system import files

#: Names of the lists, as published.
TRAIN_NAME: Final = "train_ssl_{}_filelist.txt"
VAL_NAME: Final = "val_ssl_filelist.txt"

# The path ends with the first image suffix that a label follows, so that it may hold spaces.
_SUFFIX: Final = "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES))
_BY_SUFFIX: Final = re.compile(rf"(.*?(?:{_SUFFIX}))\s+([+-]?\d{{1,18}})(?:\s|$)", re.IGNORECASE)
_BY_COLUMN: Final = re.compile(r"(\S+)\s+([+-]?\d{1,18})(?:\s|$)")
_BREAKS: Final = frozenset("\n\r")


@dataclass(slots=True)
class Rows:
    """A list as it was read.

    Args:
        file: The list.
        lines: Line number of each row, from 1.
        paths: Paths as written in the list.
        labels: Their labels.
        bad: What is wrong with the lines that are no rows.
    """

    file: Path
    lines: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


def parse_line(line: str) -> tuple[str, int] | None:
    """Take a line apart; columns after the label, such as a trigger's box, are passed over.

    A path may hold spaces if it ends with a known image suffix, and ends with the first such
    suffix that an integer follows; any other path ends at the first space.

    Args:
        line: ``path label …``.

    Returns:
        Path and label; ``None`` if it is no such line.
    """
    text = line.strip()
    match = _BY_SUFFIX.match(text) or _BY_COLUMN.match(text)
    return None if match is None else (match[1], int(match[2]))


def format_line(path: str, label: int, *columns: int) -> str:
    """Write a line that :func:`parse_line` takes apart again.

    Args:
        path: Of the image.
        label: Its class.
        columns: Further columns of the line: x, y, width, height of a box.

    Raises:
        DataError: If the path would be read back as another one.
    """
    line = " ".join([path, *map(str, (label, *columns))])
    if parse_line(line) != (path, label) or not _BREAKS.isdisjoint(path) or not _is_utf8(path):
        raise DataError(f"{path!r}: no list can hold this path; rename the file")
    return line


def read_rows(path: Path) -> Rows:
    """Read a list; blank lines are passed over.

    Args:
        path: The list.

    Raises:
        DataError: If it cannot be read as text.
    """
    rows = Rows(path)
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        row = parse_line(line)
        if row is None:
            rows.bad.append(f"{path}:{number}: not `path label`: {line.strip()[:80]!r}")
            continue
        rows.lines.append(number)
        rows.paths.append(row[0])
        rows.labels.append(row[1])
    return rows


def folders_by_label(paths: Sequence[str], labels: Sequence[int]) -> dict[int, set[str]]:
    """Return the names of the folders that the images of each label lie in.

    Args:
        paths: Of the images.
        labels: Theirs.
    """
    folders: dict[int, set[str]] = {}
    for path, label in zip(paths, labels, strict=True):
        name = os.path.basename(os.path.dirname(path))  # noqa: PTH119, PTH120 - many
        folders.setdefault(label, set()).add(name)
    return folders


def folder_names(paths: Sequence[str], labels: Sequence[int]) -> tuple[str, ...] | None:
    """Name the classes by the folders of their images, if these separate the classes.

    Args:
        paths: Of the images.
        labels: Theirs.

    Returns:
        A name for each label, in their order; ``None`` if a label has several folders, or two
        labels share one.
    """
    folders = [group for _, group in sorted(folders_by_label(paths, labels).items())]
    names = [name for group in folders for name in group]
    unique = all(len(group) == 1 for group in folders) and len(set(names)) == len(folders)
    return tuple(names) if unique else None


@dataclass(frozen=True, slots=True)
class WrittenList:
    """A list on disk.

    Args:
        path: Where it is.
        images: How many lines it has.
        sha256: Of its bytes.
        is_new: Whether it was not there before.
    """

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
    """Write a training list for each fraction, and the whole validation list.

    Args:
        listing: The images of an image folder.
        out: Folder for the lists; made if it is not there.
        fractions: Of each class's training images, in (0, 1]; rounded down, at least one.
        seed: Which images a fraction takes.
        absolute: Write absolute paths, not those below the dataset's root.

    Returns:
        The lists, training lists first.

    Raises:
        DataError: If a list is there with other content, or a list cannot hold a path;
            nothing was written.

    Source: Saha et al. 2022, published code, ``create_dataset_filelist.py``: form, names, order
        of the classes.
    Differs: The published script takes the first files in the order of the file system, and a
        fraction of the validation images too; its labels count the folders that are there.
    """
    train, val = (
        [
            (path if absolute else source, label)
            for path, source, label in zip(
                map(os.path.abspath, files.paths), files.sources, files.labels.tolist(), strict=True
            )
        ]
        for files in (listing.train, listing.val)
    )
    lines = {"train": _lines(train), "val": _lines(val)}
    contents = {}
    for fraction in fractions:
        taken = choose(listing, fraction, seed)
        name = TRAIN_NAME.format(f"{fraction.normalize():f}")
        contents[out / name] = [lines["train"][i] for i in taken]
    contents[out / VAL_NAME] = lines["val"]
    texts = {path: ("\n".join(rows) + "\n").encode() for path, rows in contents.items()}
    different = [path for path, text in texts.items() if _is_other(path, text)]
    if different:
        head = "Lists with other content are there; remove them or choose another folder"
        raise DataError(list_problems(head, list(map(str, different))))
    out.mkdir(parents=True, exist_ok=True)
    return [
        WrittenList(path, len(contents[path]), hashlib.sha256(text).hexdigest(), _write(path, text))
        for path, text in texts.items()
    ]


def choose(listing: Listing, fraction: Decimal, seed: int) -> list[int]:
    """Choose a fraction of the training images of each class.

    Each image gets a number from the seed, its class and its name below the class's folder; the
    lowest numbers are taken. So the choice is the same wherever the images lie, a smaller
    fraction is part of a larger one, and an image more or less changes one choice at most.

    Args:
        listing: The images of an image folder.
        fraction: In (0, 1]; rounded down, at least one a class.
        seed: Which choice.

    Returns:
        Positions in the training split, ascending.
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


def _lines(rows: Sequence[tuple[str, int]]) -> list[str]:
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


def _is_other(path: Path, text: bytes) -> bool:
    return path.exists() and path.read_bytes() != text


def _write(path: Path, text: bytes) -> bool:
    """Write a file by rename; return whether it was not there."""
    if path.exists():
        return False
    files.write(path, text)
    return True
