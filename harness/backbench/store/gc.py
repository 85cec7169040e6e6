"""Files in a store that belong to no stage that is done, nor to one that a run could resume."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from backbench.store.store import Store
from backbench.store.store_folder import is_published

#: Meaning of a file or folder, by the store's folder that it lies in.
_SORTS = {
    "artifacts": "an artifact without record",
    "checkpoints": "a checkpoint of a stage that is not wanted",
    "building": "a dataset in the making that is not wanted",
    "tmp": "left by a killed run",
    "records": "a record that was put aside, or half a record",
    "failures": "half a file, or of a stage that is done",
    "imported": "half a bundle",
}


class Leftover(NamedTuple):
    """A file or folder that nothing needs, what it is, and its bytes."""

    path: Path
    sort: str
    size: int


def leftovers(store: Store, wanted: Collection[str], being_made: Collection[str]) -> list[Leftover]:
    """Return what nothing needs of a store that no run holds.

    Args:
        store: The store.
        wanted: Keys of stages whose checkpoints a run may yet resume.
        being_made: Keys of stages that processes are making, asked for before this call: one that
            has ended since has published its stage.
    """
    recorded = store.recorded()
    found = []
    for name, sort in _SORTS.items():
        for path in _paths(store.root / name):
            if any(key in path.name for key in being_made):
                continue
            key = path.name.partition(".")[0]
            kept = {
                "artifacts": path.name in recorded or _has_record(store, path),
                "checkpoints": key in wanted and key not in recorded,
                "building": key in wanted and key not in recorded,
                "records": path.suffix == ".json" and key != "",
                "failures": path.suffix == ".json" and key != "" and key not in recorded,
                "imported": key != "",
            }
            if not kept.get(name, False):
                found.append(Leftover(path, sort, _size(path)))
    return found


def _has_record(store: Store, artifact: Path) -> bool:
    """Return whether an artifact has its record, in it or, if it has just left it, in its place."""
    in_place = store.root / "records" / f"{artifact.name}.json"
    return is_published(artifact) or in_place.exists()


def _paths(folder: Path) -> Iterator[Path]:
    if folder.is_dir() and not folder.is_symlink():  # what a link leads to is not the store's
        yield from sorted(folder.iterdir())


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; links are not followed."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(_size(Path(entry.path)) for entry in os.scandir(path))
