"""Classes, and their numbers of images, in a folder, a list of images or of classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from backbench.data.classes import NAMES, class_list, read_class_file, read_text
from backbench.data.folder import shared_folders, some_of
from backbench.data.image_files import PassedOver, scan_class, scan_split
from backbench.data.list_files import folder_names, parse_line, read_list
from backbench.data.list_mistakes import row_problems
from backbench.data.many import list_problems, map_threads
from backbench.errors import NOT_A_NAME, DataError, is_name

_SPLITS: Final = ("train", "val")


@dataclass(frozen=True, slots=True)
class Contents:
    """Content of a folder or a list, found without opening an image.

    The sorted classes are ``None`` if a list's folders do not separate them. ``splits`` has the
    number of images of each class by split; one entry where there are no splits, none for a list of
    classes.
    """

    kind: Literal["folder", "list of images", "list of classes"]
    classes: tuple[str, ...] | None
    splits: Mapping[str, tuple[int, ...]]
    problems: tuple[str, ...] = ()


def look_at(name: str) -> Contents:
    """Return the content of a folder, a list of images or of classes, or a shipped class list."""
    if not name:
        raise DataError("the path is empty; write ./ for this folder")
    path = Path(name)
    if os.path.isdir(path):  # noqa: PTH112 - of a name that is too long, the next reader speaks
        return _folder(path)
    if name in NAMES and not path.exists():
        return Contents("list of classes", tuple(sorted(class_list(name))), {})
    first = next((line for line in read_text(path).split("\n") if line.strip()), "")
    if parse_line(first) is None:
        return Contents("list of classes", tuple(sorted(read_class_file(path))), {})
    images = read_list(path)
    if images.bad:
        raise DataError(list_problems("The list cannot be read", list(row_problems(images))))
    counts = Counter(images.labels)
    split = {"images": tuple(counts[label] for label in sorted(counts))}
    names = folder_names(images.lines)
    if names is None:
        problem = "its images' folders do not separate the classes: only their labels are known"
        return Contents("list of images", None, split, (problem,))
    wrong = () if list(names) == sorted(names) else ("its labels are not the ranks of the ids",)
    return Contents("list of images", tuple(sorted(names)), split, wrong)


def _folder(path: Path) -> Contents:
    there = [name for name in _SPLITS if os.path.isdir(path / name)]  # noqa: PTH112
    places = {name: path / name for name in there} or {"images": path}
    around = {split: scan_split(place) for split, place in places.items()}
    if not any(one.classes for one in around.values()):
        raise DataError(f"{path}: there is no class folder in it")
    odd = sorted({name for one in around.values() for name in one.classes if not is_name(name)})
    if odd:
        raise DataError(
            list_problems("Rename these folders", [f"{o!a}: {NOT_A_NAME}" for o in odd])
        )
    passed = PassedOver()
    counts: dict[str, tuple[int, ...]] = {}
    problems = [f"there is no folder {one}" for one in _SPLITS if one not in places]
    if len(problems) == len(_SPLITS):
        problems = []
    classes = sorted({name for one in around.values() for name in one.classes})
    for split, one in around.items():
        scans = map_threads(scan_class, [places[split] / name for name in one.classes], chunk=1)
        counts[split] = tuple(len(scan.images) for scan in scans)
        problems += shared_folders(split, dict(zip(one.classes, scans, strict=True)))
        for scan in scans:
            passed.extend(scan.passed)
            problems += scan.problems
        passed.extend(one.passed)
        if one.loose:
            problems.append(f"{split}: {one.loose} images lie outside class folders")
        if not one.classes:
            problems.append(f"{split}: there are no class folders in it")
        elif absent := [name for name in classes if name not in one.classes]:
            problems.append(f"{split} lacks {len(absent)} of the classes: {some_of(absent)}")
    return Contents("folder", tuple(classes), counts, (*problems, *passed.sentences(path)))
