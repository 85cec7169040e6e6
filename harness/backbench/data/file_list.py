"""Images named in two lists, a line ``path label`` each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backbench.data.classes import NAMES, class_list, read_class_file
from backbench.data.dataset_options import FileListOptions
from backbench.data.file_dataset import FileDataset, Listing
from backbench.data.files import LabelledFiles, list_problems
from backbench.data.list_checks import Line, absent_files, contradictions, list_notes
from backbench.data.list_files import Rows, folder_names, folders_by_label, read_rows
from backbench.errors import DataError


class FileList(FileDataset):
    """Images in the order of two lists.

    A line holds a path and a label, counted from 0; columns after them, such as the box of a
    trigger, are passed over, and so are blank lines. A path may hold spaces: see
    :func:`backbench.data.list_files.parse_line`. Absolute paths are fine, also outside the root: a
    image is known by its place below the folder that all of them share.

    Args:
        options: The lists, and how to read them.

    Source: Saha et al. 2022, published code, the lists of ``create_dataset_filelist.py``.
    Differs: Nothing known for the lists that it writes: their paths hold no spaces.
    """

    options: FileListOptions

    def list_files(self) -> Listing:
        """Read the lists.

        Raises:
            DataError: Naming every line at problem: without a label, with a label that is not a
                class, or naming a file that does not exist; where an image has two labels; or if
                classes are named in another order than that of the labels.
        """
        train = _List.read(self.options.train, self.options.root)
        val = _List.read(self.options.val, self.options.root)
        names = _read_names(self.options.classes)
        count = max(train.rows.labels, default=-1) + 1 if names is None else len(names)
        problems = [*train.problems(count), *val.problems(count)]
        problems += contradictions([*train.lines, *val.lines])
        for rows in (train.rows, val.rows):
            labels = set(rows.labels)
            # One mistyped label makes the range of labels larger than any memory.
            absent = list(islice((one for one in range(count) if one not in labels), 20))
            if absent:
                shown = ", ".join(map(str, absent))
                problems.append(f"{rows.file}: no image has label {shown}; labels count from 0")
        if names is not None and not problems:
            problems += [*_misnamed(train, names), *_misnamed(val, names)]
        if problems:
            raise DataError(list_problems("The file lists cannot be used", problems))
        if names is None:
            names = folder_names(train.paths, train.rows.labels) or tuple(map(str, range(count)))
        away = _common_folder([*train.away(), *val.away()])
        notes = tuple(list_notes(train.lines, val.lines))
        return Listing(names, train.files(away), val.files(away), notes)


class _List(NamedTuple):
    """A list and the files that it names, relative to a folder."""

    rows: Rows
    base: str
    paths: list[str]

    @classmethod
    def read(cls, path: Path, root: Path | None) -> _List:
        base = os.path.abspath(path.parent if root is None else root)  # noqa: PTH100
        rows = read_rows(path)
        return cls(rows, base, [os.path.join(base, one) for one in rows.paths])  # noqa: PTH118 - many

    def problems(self, classes: int) -> list[str]:
        """Say what is wrong with the lines, in their order as far as they are rows."""
        file, found = self.rows.file, list(self.rows.bad)
        if not self.paths and not found:
            found.append(f"{file}: there is no line in it")
        for number, label in zip(self.rows.lines, self.rows.labels, strict=True):
            if not 0 <= label < classes:
                found.append(
                    f"{file}:{number}: label {label} is not one of the "
                    f"{classes} classes, 0 to {classes - 1}"
                )
        return [*found, *absent_files(self.lines, self.base)]

    @property
    def lines(self) -> list[Line]:
        """The lines that are rows."""
        rows = self.rows
        columns = (rows.lines, rows.paths, self.paths, rows.labels)
        return [Line(rows.file, *line) for line in zip(*columns, strict=True)]

    def away(self) -> list[str]:
        """Return the absolute paths that lie elsewhere than below the folder."""
        places = (_below(self.base, one) for one in self.rows.paths)
        return [place for place in places if os.path.isabs(place)]  # noqa: PTH117 - many

    def files(self, away: str) -> LabelledFiles:
        """Name each file by its place below the folder, or below another one.

        So the whole may move without becoming another dataset.
        """
        places = (_below(self.base, one) for one in self.rows.paths)
        sources = [_below(away, one).replace(os.sep, "/") for one in places]
        return LabelledFiles(self.paths, sources, np.array(self.rows.labels, np.int64))


def _below(base: str, path: str) -> str:
    """Return a path relative to a folder that it lies in; any other one only in normal form."""
    inside = os.path.normpath(path)
    if os.path.isabs(inside) and inside.startswith(base + os.sep):  # noqa: PTH117 - many
        inside = inside[len(base) + 1 :]
    return inside


def _common_folder(paths: Sequence[str]) -> str:
    """Return the folder that absolute paths have in common, or none."""
    if not paths:
        return ""
    return os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120 - many


def _read_names(classes: Path | None) -> tuple[str, ...] | None:
    """Return the classes by label: those of a shipped list sorted, of a file in its order."""
    if classes is None:
        return None
    if str(classes) in NAMES:
        return tuple(sorted(class_list(str(classes))))
    if not classes.is_file():
        raise DataError(
            f"{classes}: no such file of class names, nor a list that ships with backbench "
            f"(there are: {', '.join(NAMES)})"
        )
    return read_class_file(classes)


def _misnamed(images: _List, names: Sequence[str]) -> Iterator[str]:
    """Say that labels have images in the folder of another class.

    The published list of ImageNet-100, for one, is not in the order of the labels.
    """
    rank = {name: label for label, name in enumerate(names)}
    groups = folders_by_label(images.paths, images.rows.labels)
    only = {label: next(iter(group)) for label, group in groups.items() if len(group) == 1}
    wrong = [label for label, folder in sorted(only.items()) if rank.get(folder, label) != label]
    if wrong:
        more = f" (and {len(wrong) - 1} more such labels)" if len(wrong) > 1 else ""
        yield (
            f"{images.rows.file}: label {wrong[0]} is called {names[wrong[0]]!r}, but its "
            f"images lie in the folder {only[wrong[0]]!r}{more}; give the classes in the order "
            "of the labels"
        )
