"""Images named in two lists, a line ``path label`` each."""

from __future__ import annotations

import os
import shlex
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from backbench.data.classes import NAMES, find_classes
from backbench.data.dataset_options import FileListOptions
from backbench.data.file_dataset import FileDataset, Listing
from backbench.data.files import LabelledFiles, list_problems
from backbench.data.image_files import PassedOver, is_passed_folder, reason_to_pass
from backbench.data.list_files import ImageList, Line, folder_names, folders_by_label, read_list
from backbench.errors import DataError


class FileList(FileDataset):
    """Images in the order of two lists.

    A line holds a path and a label, counted from 0; columns after them, such as the box of a
    trigger, are passed over, and so are blank lines. A path may hold spaces: see
    :func:`backbench.data.list_files.parse_line`. Absolute paths are fine, also outside the root: an
    image is known by its path below the folder that all of them share.

    Source: Saha et al. 2022, published code, the lists of ``create_dataset_filelist.py``.
    Differs: Nothing known for the lists that it writes: their paths hold no spaces.
    """

    options: FileListOptions

    def list_files(self) -> Listing:
        """Read the lists.

        Raises:
            DataError: Naming every line without a label, with a label that is not a class, or with
                a missing file; images that have two labels; and classes in another order than
                that of the labels.
        """
        options = self.options
        train, val = (read_list(path, options.root) for path in (options.train, options.val))
        names = _read_names(options.classes)
        count = max(train.labels, default=-1) + 1 if names is None else len(names)
        problems = [*_problems(train, count), *_problems(val, count)]
        problems += contradictions([*train.lines, *val.lines])
        for images in (train, val):
            labels = set(images.labels)
            # One mistyped label makes the range of labels larger than any memory.
            absent = list(islice((one for one in range(count) if one not in labels), 20))
            if absent:
                shown = ", ".join(map(str, absent))
                problems.append(f"{images.file}: no image has label {shown}; labels count from 0")
        if names is not None and not problems:
            problems += [*_misnamed(train, names), *_misnamed(val, names)]
        if problems:
            raise DataError(list_problems("The file lists cannot be used", problems))
        if names is None:
            names = folder_names(train.lines) or tuple(map(str, range(count)))
        away = [path for path in (*_paths(train), *_paths(val)) if os.path.isabs(path)]  # noqa: PTH117
        common = os.path.commonpath(list(map(os.path.dirname, away))) if away else ""
        notes = tuple(list_notes(train.lines, val.lines))
        return Listing(names, _files(train, common), _files(val, common), notes)


def _problems(images: ImageList, classes: int) -> list[str]:
    """Say what is wrong with the lines, in their order as far as they are rows."""
    found = list(images.bad)
    if not images.lines and not found:
        found.append(f"{images.file}: there is no line in it")
    found += [
        f"{line}: label {line.label} is not one of the {classes} classes, 0 to {classes - 1}"
        for line in images.lines
        if not 0 <= line.label < classes
    ]
    return [*found, *absent_files(images.lines, images.base)]


def _paths(images: ImageList) -> list[str]:
    """Return the paths below the list's folder; those that are elsewhere are absolute."""
    return [_below(images.base, line.given) for line in images.lines]


def _files(images: ImageList, common: str) -> LabelledFiles:
    """Name each file by its path below the list's folder, or below the one of all others.

    So the whole may move without becoming another dataset.
    """
    sources = [_below(common, path).replace(os.sep, "/") for path in _paths(images)]
    paths = [line.path for line in images.lines]
    return LabelledFiles(paths, sources, np.array(images.labels, np.int64))


def _below(base: str, path: str) -> str:
    """Return a path relative to a folder that it lies in; any other one only in normal form."""
    inside = os.path.normpath(path)
    if os.path.isabs(inside) and inside.startswith(base + os.sep):  # noqa: PTH117 - many
        inside = inside[len(base) + 1 :]
    return inside


def _read_names(classes: Path | None) -> tuple[str, ...] | None:
    """Return the classes by label: those of a shipped list sorted, of a file in its order."""
    if classes is None:
        return None
    names = find_classes(str(classes))
    return tuple(sorted(names)) if str(classes) in NAMES else names


def _misnamed(images: ImageList, names: Sequence[str]) -> Iterator[str]:
    """Say that labels have images in the folder of another class.

    The published list of ImageNet-100, for one, is not in the order of the labels.
    """
    rank = {name: label for label, name in enumerate(names)}
    groups = folders_by_label(images.lines)
    only = {label: next(iter(group)) for label, group in groups.items() if len(group) == 1}
    wrong = [label for label, folder in only.items() if rank.get(folder, label) != label]
    if wrong:
        more = f" (and {len(wrong) - 1} more such labels)" if len(wrong) > 1 else ""
        yield (
            f"{images.file}: label {wrong[0]} is called {names[wrong[0]]!r}, but its "
            f"images lie in the folder {only[wrong[0]]!r}{more}; give the classes in the order "
            "of the labels"
        )


# -- mistakes that many lines of a list share, said once ------------------------------------------


def absent_files(lines: Sequence[Line], base: str) -> Iterator[str]:
    """Say which lines of a list name no file that can be read, and which mistake they share.

    Relative paths start from the folder ``base``.
    """
    absent: list[Line] = []
    for line in lines:
        try:
            mode = os.stat(line.path).st_mode  # noqa: PTH116 - many
        except (OSError, ValueError):
            absent.append(line)
            continue
        if not stat.S_ISREG(mode):
            yield f"{line}: not a regular file: {line.path}"
        elif not os.access(line.path, os.R_OK):
            yield f"{line}: permission denied: {line.path}"
    for cause in (_backslashes, _other_root, _other_form, _no_root):
        taken, sentence = cause(absent, lines, base)
        if taken:
            first = taken[0]
            yield (
                f"{first.file}: {len(taken)} of {len(lines)} paths {sentence} "
                f"(line {first.number}: {first.given})"
            )
            absent = [line for line in absent if line not in set(taken)]
    yield from (f"{line}: no such file: {line.path}" for line in absent)


_Cause = tuple[list[Line], str]


def _backslashes(absent: list[Line], _lines: Sequence[Line], _base: str) -> _Cause:
    taken = [line for line in absent if "\\" in line.given]
    if not taken:
        return [], ""
    command = f"sed -i 's#\\\\#/#g' {shlex.quote(str(taken[0].file))}"
    return taken, f"have backslashes between folders; write /: `{command}`"


def _other_root(absent: list[Line], _lines: Sequence[Line], _base: str) -> _Cause:
    taken = [line for line in absent if os.path.isabs(line.given)]  # noqa: PTH117 - many
    if len(taken) < 2:
        return [], ""
    folder = os.path.commonpath([os.path.dirname(line.path) for line in taken])  # noqa: PTH120
    if os.path.isdir(folder):  # noqa: PTH112 - a str
        return [], ""
    program = shlex.quote(f"s#^{folder}#/your/folder#")
    command = f"sed -i {program} {shlex.quote(str(taken[0].file))}"
    return taken, (
        f"are absolute and begin with {folder}, which is not here, and root is for relative "
        f"paths; put your folder there: `{command}`"
    )


def _other_form(absent: list[Line], _lines: Sequence[Line], _base: str) -> _Cause:
    def exists(line: Line) -> bool:
        forms = {unicodedata.normalize(form, line.path) for form in ("NFC", "NFD")}
        return any(os.path.exists(form) for form in forms)  # noqa: PTH110 - a str

    taken = [line for line in absent if not line.path.isascii() and exists(line)]
    return taken, (
        "are written in another Unicode form than the files' names (é as one character or as "
        "two); write the list anew, as `backbench data filelist` does"
    )


def _no_root(absent: list[Line], lines: Sequence[Line], base: str) -> _Cause:
    taken = absent if len(absent) == len(lines) > 1 else []
    return taken, f"are not below {base}; set root to the folder that they start from"


def contradictions(lines: Sequence[Line]) -> Iterator[str]:
    """Name images that have two labels, by the lines of both lists."""
    first: dict[str, Line] = {}
    for line in lines:
        one = first.setdefault(os.path.normpath(line.path), line)
        if one.label != line.label:
            yield f"{line}: {line.given} has label {line.label}, and label {one.label} in {one}"


def list_notes(train: Sequence[Line], val: Sequence[Line]) -> Iterator[str]:
    """Count images that are named twice, or that a folder would not take for images."""
    known = {os.path.normpath(line.path) for line in train}
    both = [line for line in val if os.path.normpath(line.path) in known]
    if both:
        yield (
            f"{len(both)} of {len(val)} validation images are training images too "
            f"({both[0]}: {both[0].given})"
        )
    for lines in (train, val):
        first = {os.path.normpath(line.path): line for line in reversed(lines)}
        twice = [line for line in lines if first[os.path.normpath(line.path)] is not line]
        if twice:
            yield (
                f"{twice[0].file}: {len(twice)} lines name an image that an earlier line names "
                f"({twice[0]}: {twice[0].given})"
            )
    passed = PassedOver()
    for line in (*train, *val):
        *folders, name = line.given.split("/")
        hidden = any(is_passed_folder(one) for one in folders if one not in {".", ".."})
        reason = "hidden and system folders" if hidden else reason_to_pass(name)
        if reason is not None:
            passed.add(reason, str(line))
    if passed.counts:
        parts = ", ".join(
            f"{one} {passed.counts[one]} ({passed.examples[one]})" for one in passed.counts
        )
        yield f"the lists name images that would be passed over in a folder, and are read: {parts}"
