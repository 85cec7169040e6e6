"""Some classes of a whole image folder, copied or linked: ImageNet-100 out of ImageNet."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backbench.data.files import list_problems, map_threads
from backbench.data.scan import PassedOver, images_of, scan_class, scan_split
from backbench.errors import DataError
from backbench.system.files import alone_in, replacing

SPLITS: Final = ("train", "val")


@dataclass(frozen=True, slots=True)
class Item:
    """An image.

    Args:
        name: Where it lies below both trees: ``train/n01440764/n01440764_18.JPEG``.
        size: Bytes.
    """

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Subset:
    """What is to be made, checked against what is there.

    Args:
        source: The whole tree.
        out: The tree to make.
        classes: Class names, sorted.
        images: All images of these classes, by split.
        missing: Those to be copied; empty where folders are linked.
        links: The class folders to be linked, ``train/n01440764``; empty where images are copied.
        notes: What was passed over.
    """

    source: Path
    out: Path
    classes: tuple[str, ...]
    images: dict[str, list[Item]]
    missing: list[Item]
    links: list[str]
    notes: tuple[str, ...]

    @property
    def missing_bytes(self) -> int:
        """Bytes to be copied."""
        return sum(item.size for item in self.missing)

    @property
    def total_bytes(self) -> int:
        """Bytes of all images."""
        return sum(item.size for items in self.images.values() for item in items)


def plan_subset(source: Path, out: Path, classes: Sequence[str], *, link: bool) -> Subset:
    """Look at both trees and say what is to be done; nothing is written.

    An image that is there with the size of the original is complete, since images are moved
    into place when they are; so an interrupted copy is continued.

    Args:
        source: Tree with ``train`` and ``val``, a folder a class in each.
        out: The tree to make.
        classes: The classes to take.
        link: Make a symbolic link to each class folder, and copy nothing.

    Raises:
        DataError: Naming every problem: classes that the source lacks, and existing files
            that would not be made.
    """
    names = tuple(sorted(classes))
    problems = list(_source_problems(source, names))
    if problems:
        raise DataError(
            list_problems(f"{source} is not a tree to take these classes from", problems)
        )
    folders = [f"{split}/{name}" for split in SPLITS for name in names]
    scans = map_threads(lambda one: scan_class(source / one), folders, 1)
    passed = PassedOver()
    for scan in scans:
        passed.extend(scan.passed)
        problems += scan.problems
    if problems:
        raise DataError(list_problems(f"{source} cannot be read", problems))
    found = {one: _items(source, scan.images) for one, scan in zip(folders, scans, strict=True)}
    problems = [f"{one}: there is no image in it" for one, items in found.items() if not items]
    if problems:
        raise DataError(list_problems(f"{source} lacks images", problems))
    missing: list[Item] = []
    links: list[str] = []
    problems = list(_surplus(out, set(folders)))
    if out.exists() and out.samefile(source):
        problems.append("it is the source itself")
    if link:
        problems += _link_problems(source, out, folders)
        links = [folder for folder in folders if not (out / folder).is_symlink()]
    else:
        linked = [folder for folder in folders if (out / folder).is_symlink()]
        if linked:
            problems.append(
                f"{_some(linked)}: links to class folders; a copy would change what they show"
            )
        for folder in folders:
            absent, wrong = _compare(out, folder, found[folder])
            missing += absent
            problems += wrong
    if problems:
        head = f"{out} holds something else; choose another folder, or remove what is named"
        raise DataError(list_problems(head, problems))
    images = {
        split: [item for name in names for item in found[f"{split}/{name}"]] for split in SPLITS
    }
    return Subset(source, out, names, images, missing, links, passed.sentences(source))


def make_subset(subset: Subset, advance: Callable[[int], None]) -> None:
    """Copy what is missing, on as many threads as there are cores, or make the links.

    Args:
        subset: What :func:`plan_subset` has found.
        advance: Called from any thread with the bytes of each image that was copied.

    Raises:
        DataError: If the disk has no room for the copies, or another process is writing to the
            same folder.
    """
    out = subset.out
    out.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(out).free, subset.missing_bytes
    if needed > free:
        raise DataError(
            f"{out}: {needed:,} bytes are to be copied and {free:,} are free; links need no room"
        )
    with alone_in(out):
        for folder in subset.links:
            link = out / folder
            link.parent.mkdir(exist_ok=True)
            link.symlink_to((subset.source / folder).resolve(), target_is_directory=True)
        for place in {(out / item.name).parent for item in subset.missing}:
            place.mkdir(parents=True, exist_ok=True)

        def copy(item: Item) -> None:
            _copy(subset.source / item.name, out / item.name)
            advance(item.size)

        map_threads(copy, subset.missing, chunk=8)


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its time of change; it is never seen half-written."""
    with replacing(target, durable=False) as partial:
        shutil.copyfile(source, partial)
        changed = source.stat()
        os.utime(partial, ns=(changed.st_atime_ns, changed.st_mtime_ns))


def _items(source: Path, paths: Sequence[str]) -> list[Item]:
    """Name the images of a class as they lie below a tree."""
    start = len(str(source)) + 1
    return [
        Item(path[start:].replace(os.sep, "/"), os.stat(path).st_size)  # noqa: PTH116 - many
        for path in paths
    ]


def _source_problems(source: Path, names: Sequence[str]) -> Iterator[str]:
    if not source.is_dir():
        yield "there is no such folder"
        return
    for split in SPLITS:
        place = source / split
        if not place.is_dir():
            there = ", ".join(scan_split(source).classes[:20]) or "no folders"
            yield f"there is no folder {split!r} in it (it has {there})"
            continue
        around = scan_split(place)
        folders = set(around.classes)
        missing = [name for name in names if name not in folders]
        if not missing:
            continue
        if len(missing) == len(names) and around.loose:
            yield (
                f"{split}: its images lie in no class folders, as ImageNet's validation images "
                "do when unpacked; sort them by class first: "
                "torchvision.datasets.ImageNet(FOLDER, split='val') does so from "
                "ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz"
            )
        elif len(missing) == len(names) and any(place.glob("n*.tar")):
            yield f"{split}: its classes are still tar files; unpack each into a folder of its name"
        else:
            yield (
                f"{split}: there is no folder for {len(missing)} of the {len(names)} classes: "
                f"{', '.join(missing)}"
            )


def _surplus(out: Path, folders: set[str]) -> Iterator[str]:
    """Name the class folders that would not be made."""
    for split in SPLITS:
        place = out / split
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            yield f"{split}: is not a folder of its own"
        elif place.is_dir():
            for name in scan_split(place).classes:
                if f"{split}/{name}" not in folders:
                    yield f"{split}/{name}: is not one of the classes"


def _link_problems(source: Path, out: Path, folders: Sequence[str]) -> Iterator[str]:
    copies = [folder for folder in folders if _is_own_folder(out / folder)]
    if copies:
        yield f"{_some(copies)}: folders of their own, not links"
    for folder in folders:
        link = out / folder
        if link.is_symlink() and not (link.exists() and link.samefile(source / folder)):
            yield f"{folder}: is a link to {link.readlink()}"


def _is_own_folder(path: Path) -> bool:
    return path.exists() and not path.is_symlink()


def _compare(out: Path, folder: str, items: Sequence[Item]) -> tuple[list[Item], list[str]]:
    """Return the images that are not there, and what is wrong with those that are."""
    if not (out / folder).exists():
        return list(items), []
    there = {item.name: item.size for item in _items(out, images_of(out / folder))}
    absent = [item for item in items if item.name not in there]
    wrong = [
        f"{item.name}: has {there[item.name]:,} bytes, not {item.size:,}"
        for item in items
        if there.get(item.name, item.size) != item.size
    ]
    surplus = sorted(there.keys() - {item.name for item in items})
    return absent, wrong + [f"{name}: is not in the source" for name in surplus]


def _some(names: Sequence[str]) -> str:
    """Name a few."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
