"""Pictures named in two lists, a line ``path label`` each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from backbench.data.decode import PICTURE_SUFFIXES
from backbench.data.files import LabelledFiles, list_faults
from backbench.data.listing import FileDataset, Listing
from backbench.data.options import FileListOptions
from backbench.errors import DataError

# The path ends with the first picture suffix that a label follows, so that it may hold spaces.
_SUFFIX: Final = "|".join(re.escape(suffix) for suffix in sorted(PICTURE_SUFFIXES))
_BY_SUFFIX: Final = re.compile(rf"(.*?(?:{_SUFFIX}))\s+([+-]?\d{{1,18}})(?:\s|$)", re.IGNORECASE)
_BY_COLUMN: Final = re.compile(r"(\S+)\s+([+-]?\d{1,18})(?:\s|$)")


class FileList(FileDataset):
    """Pictures in the order of two lists.

    A line holds a path and a label, counted from 0; columns after them, such as the box of a
    trigger, are passed over, and so are blank lines. A path may hold spaces if it ends with a
    known picture suffix, and ends with the first such suffix that an integer follows; any other
    path ends at the first space.

    Args:
        options: The lists, and how to read them.

    Source: Saha et al. 2022, published code, the lists of ``create_dataset_filelist.py``.
    Differs: Nothing known for the lists that it writes: their paths hold no spaces.
    """

    options: FileListOptions

    def list_files(self) -> Listing:
        """Read the lists.

        Raises:
            DataError: Naming every line at fault: without a label, with a label that is not a
                class, or naming a file that does not exist.
        """
        train = _List.read(self.options.train, self.options.root)
        val = _List.read(self.options.val, self.options.root)
        names = None if self.options.classes is None else _read_names(self.options.classes)
        count = max(train.labels, default=-1) + 1 if names is None else len(names)
        faults = [*train.faults(count), *val.faults(count)]
        for where, labels in ((train, set(train.labels)), (val, set(val.labels))):
            # One mistyped label makes the range of labels larger than any memory.
            absent = list(islice((one for one in range(count) if one not in labels), 20))
            if absent:
                shown = ", ".join(map(str, absent))
                faults.append(f"{where.path}: no picture has label {shown}; labels count from 0")
        if faults:
            raise DataError(list_faults("The file lists cannot be used", faults))
        if names is None:
            names = _derive_names(train, count)
        return Listing(names, train.files(), val.files())


class _List(NamedTuple):
    """A list as it was read: the rows, and the lines that are none."""

    path: Path
    lines: list[int]
    sources: list[str]
    paths: list[str]
    labels: list[int]
    bad: list[str]

    @classmethod
    def read(cls, path: Path, root: Path | None) -> _List:
        base = os.path.abspath(path.parent if root is None else root)  # noqa: PTH100
        rows = cls(path, [], [], [], [], [])
        for number, line in enumerate(_read_text(path).split("\n"), start=1):
            text = line.strip()
            if not text:
                continue
            match = _BY_SUFFIX.match(text) or _BY_COLUMN.match(text)
            if match is None:
                rows.bad.append(f"{path}:{number}: not `path label`: {text[:80]!r}")
                continue
            rows.lines.append(number)
            rows.paths.append(os.path.join(base, match[1]))  # noqa: PTH118 - many
            rows.sources.append(_below(base, match[1]))
            rows.labels.append(int(match[2]))
        return rows

    def faults(self, classes: int) -> list[str]:
        """Say what is wrong with the lines, in their order as far as they are rows."""
        found = list(self.bad)
        if not self.paths and not found:
            found.append(f"{self.path}: there is no line in it")
        for number, path, label in zip(self.lines, self.paths, self.labels, strict=True):
            if not 0 <= label < classes:
                found.append(
                    f"{self.path}:{number}: label {label} is not one of the "
                    f"{classes} classes, 0 to {classes - 1}"
                )
            if not os.path.isfile(path):  # noqa: PTH113 - many
                found.append(f"{self.path}:{number}: no such file: {path}")
        return found

    def files(self) -> LabelledFiles:
        return LabelledFiles(self.paths, self.sources, np.array(self.labels, np.int64))


def _below(base: str, path: str) -> str:
    """Name a path by its place below the root, so that the whole may move."""
    inside = os.path.normpath(path)
    if os.path.isabs(inside) and inside.startswith(base + os.sep):  # noqa: PTH117 - many
        inside = inside[len(base) + 1 :]
    return inside.replace(os.sep, "/")


def _derive_names(train: _List, count: int) -> tuple[str, ...]:
    """Name the classes by their pictures' folders, or by their labels."""
    folders: list[set[str]] = [set() for _ in range(count)]
    for path, label in zip(train.paths, train.labels, strict=True):
        folders[label].add(os.path.basename(os.path.dirname(path)))  # noqa: PTH119, PTH120 - many
    names = [name for group in folders for name in group]
    if all(len(group) == 1 for group in folders) and len(set(names)) == count:
        return tuple(names)
    return tuple(map(str, range(count)))


def _read_names(path: Path) -> tuple[str, ...]:
    names = [line.strip() for line in _read_text(path).split("\n") if line.strip()]
    repeated = _repeated(names)
    if repeated:
        raise DataError(f"{path}: class names stand in it twice: {', '.join(repeated)}")
    if not names:
        raise DataError(f"{path}: there is no class name in it")
    return tuple(names)


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; it should hold a line a picture or class") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error
