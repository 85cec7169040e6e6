"""Images named in two lists, a line ``path label`` each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from backbench.data.classes import NAMES, find_classes
from backbench.data.dataset_options import FileListOptions
from backbench.data.file_dataset import FileDataset, Listing
from backbench.data.files import LabelledFiles
from backbench.data.list_files import ImageList, folder_names, folders_by_label, read_list
from backbench.data.list_mistakes import contradictions, line_problems, list_notes, misplaced
from backbench.data.many import list_problems
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
        known = None if names is None else len(names)
        # A list whose lines cannot be read does not show how many classes there are.
        if known is None and train.lines and not train.bad:
            known = max(0, *train.labels) + 1
        problems = [*line_problems(train, known), *line_problems(val, known)]
        problems += contradictions(train, val)
        if not problems:
            problems = [*misplaced(train, val), *_absent_labels(train, val, known or 0)]
        if names is not None and not problems:
            problems += [*_misnamed(train, names), *_misnamed(val, names)]
        if problems:
            raise DataError(list_problems("The file lists cannot be used", problems))
        if names is None:
            names = folder_names(train.lines) or tuple(map(str, range(known or 0)))
        away = [path for path in (*_paths(train), *_paths(val)) if os.path.isabs(path)]  # noqa: PTH117
        common = os.path.commonpath(list(map(os.path.dirname, away))) if away else ""
        notes = tuple(list_notes(train, val))
        return Listing(names, _files(train, common), _files(val, common), notes)


def _absent_labels(train: ImageList, val: ImageList, classes: int) -> Iterator[str]:
    """Report the labels that no image of a list has."""
    own, others = set(train.labels), set(val.labels)
    # One mistyped label makes the range of labels larger than any memory.
    none = (one for one in range(classes) if one not in own)
    for images, absent in ((train, none), (val, iter(sorted(own - others)))):
        if shown := ", ".join(map(str, islice(absent, 20))):
            yield f"{images.file}: no image has label {shown}; labels count from 0, without gaps"


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
    """Report labels that have images in the folder of another class.

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
