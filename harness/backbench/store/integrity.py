"""Compare an artifact with its record before anything is made of it, once a run and file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from backbench.errors import StoreError
from backbench.store import MOST_BYTES
from backbench.store.store import Store
from backbench.system import files
from backbench.system.json_text import to_json

if TYPE_CHECKING:
    from backbench.store.records import Record


def checked(store: Store, key: str) -> Record:
    """Return the record of a finished stage, whose files are as it states.

    What is checked, or was written by this run, is noted in the store's temporary folder, for all
    processes of the run: files of an unchanged inode, size and times are not hashed again.

    Raises:
        StoreError: If the stage is not done, or a file is not what the record states.
    """
    record = store.awaited(key)
    if record is None:
        raise StoreError(f"{store.root}: stage {key} is not in the store: run it again")
    folder = store.artifact(key)
    try:
        if _noted(store, key) != _stamps(folder, record):
            for path in _damaged_files(folder, record):
                if store.evict(key):  # what the storage has is compared as it is fetched
                    return checked(store, key)
                raise StoreError(f"{path}: not what its record says: {record.remedy}")
            note_checked(store, record)
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        raise StoreError(f"{error.filename}: {reason}: {record.remedy}") from error
    return record


def _damaged_files(folder: Path, record: Record) -> Iterator[Path]:
    """Yield the files of an artifact that are not what its record states."""
    for name, said in record.files.items():
        path = folder / name
        if path.stat().st_size != said["bytes"] or files.sha256(path) != said["sha256"]:
            yield path


def note_checked(store: Store, record: Record) -> None:
    """Note for this run that the files of a stage are those of its record."""
    with suppress(OSError):  # they are hashed again then
        stamps = to_json(_stamps(store.artifact(record.key), record))
        files.write(_note(store, record.key), stamps, durable=False)


def damage(store: Store, key: str) -> str:
    """Return what is wrong with a stage that has a record; empty if its files have their sizes."""
    try:
        record = store.record(key)
    except StoreError as error:
        return str(error)
    if record is None:
        return f"{store.root}: the record of {key} cannot be read: `backbench run` makes it again"
    sentence = _wrong_size(store, record)
    return "" if sentence and store.evict(key) else sentence


def _wrong_size(store: Store, record: Record) -> str:
    """Return which file of an artifact is missing or has another size; empty if none is."""
    for name, said in record.files.items():
        try:
            found = store.size_of(record.key, name)
        except OSError as error:
            path = store.folder(record.key) / name
            return f"{path}: cannot be read ({error.strerror}): `backbench run` makes it again"
        if found != said["bytes"]:
            return (
                f"{store.folder(record.key) / name}: has {found} bytes, and its record says "
                f"{said['bytes']}: `backbench run` makes it again"
            )
    if record.files:
        return ""
    folder = store.folder(record.key)
    return "" if folder.is_dir() else f"{folder}: is missing: `backbench run` makes it again"


def damaged(store: Store, keys: Iterable[str]) -> dict[str, str]:
    """Return what is wrong with stages that have a record and count as not done, by key."""
    recorded = store.recorded()
    found = {key: damage(store, key) for key in keys if key in recorded}
    return {key: sentence for key, sentence in found.items() if sentence}


def _note(store: Store, key: str) -> Path:
    return store.root / "tmp" / f"{key}.checked"


def _noted(store: Store, key: str) -> object:
    try:
        return json.loads(files.read_regular(_note(store, key), MOST_BYTES))
    except (OSError, ValueError):
        return None


def _stamps(folder: Path, record: Record) -> dict[str, list[int]]:
    """Return what changes when a file does, by name."""
    return {name: files.stamps((folder / name).stat()) for name in record.files}
