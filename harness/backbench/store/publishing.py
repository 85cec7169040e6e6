"""Write an artifact, and publish it with its record: a reader sees the whole of it or nothing."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backbench.errors import StoreError
from backbench.store import MOST_BYTES, leases
from backbench.store.store_folder import RECORD, StoreFolder, is_published, read_record
from backbench.system import files
from backbench.system.json_text import to_json

if TYPE_CHECKING:
    from backbench.store.records import Record
    from backbench.store.remote import Remote

#: Errors of a rename to a folder that is there already. A network drive that sends a rename twice
#: reports that its source is gone.
TAKEN: Final = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT}


@contextmanager
def writing(store: StoreFolder, key: str) -> Iterator[Path]:
    """Give a private folder to write an artifact in; it is removed unless it is published.

    Its time of change is set again and again meanwhile: see :mod:`~backbench.store.leases`.
    """
    folder = store.temporary(key)
    folder.mkdir(parents=True)
    files.share(folder)
    try:
        with leases.touched(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(store: StoreFolder, folder: Path, record: Record) -> Record:
    """Move an artifact with its record into place, then the record to the other records.

    A reader sees the whole of a stage or nothing: the record comes last. Both moves are
    renames. Where processes publish the same stage at the same time, on machines that share
    no locks, the first stays and the others are dropped. A process that is killed between the
    two moves leaves an artifact that holds its record; the next run, or the next process that
    publishes the stage, makes the second move.

    Returns:
        The record in the store: that of another process if it was the first.
    """
    found = store.record(record.key)
    if found is not None and (store.url is not None or store.folder(record.key).is_dir()):
        return found
    what = f"the record of {record.label!r}"
    text = to_json(record.to_json(), what, indent=1) + "\n"  # may fail; nothing has moved yet
    _finish(folder)
    files.write(folder / RECORD, text)
    for name in ("artifacts", "records"):
        (store.root / name).mkdir(parents=True, exist_ok=True)
    found = _move(store, folder, record.key)
    with suppress(OSError):  # the stage is done; the next run removes what is left
        store.clear(record.key)
    return found


def _move(store: StoreFolder, folder: Path, key: str) -> Record:
    """Move an artifact into place, unless another is there; return the record of that one.

    Raises:
        StoreError: If something else removes it, or replaces it again and again.
    """
    for _ in range(3):
        try:
            folder.rename(store.folder(key))
        except OSError as error:
            if error.errno not in TAKEN:
                raise
        if (found := complete(store, key)) is not None:
            return found
        if not folder.exists():
            break
        _put_aside(store, key)
    raise StoreError(f"{store.folder(key)}: was removed while it was published: run again")


def complete(store: StoreFolder, key: str) -> Record | None:
    """Move the record out of an artifact in place; return it, ``None`` if there is none."""
    if store.remote is not None and is_published(store.folder(key)):
        _upload(store, store.remote, key)
    path = store.root / "records" / f"{key}.json"
    for _ in files.looks_for(path.parent):
        with suppress(FileNotFoundError, NotADirectoryError):
            (store.folder(key) / RECORD).rename(path)
        if (found := store.record(key)) is not None:
            return found
    return None


def _upload(store: StoreFolder, remote: Remote, key: str) -> None:
    """Upload an artifact in place, then its record, unless there is one: then drop ours."""
    path = store.folder(key) / RECORD
    text, name = files.read_regular(path, MOST_BYTES), f"records/{key}.json"
    record = read_record(path)
    if record is None:  # another process has moved it
        return
    remote.push(store.folder(key), record)
    if remote.create(name, text):
        return
    for _, theirs in remote.records([key]):
        if theirs != text:
            aside = store.temporary(key)
            store.folder(key).rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
            files.write(store.root / name, theirs, durable=False)


def _put_aside(store: StoreFolder, key: str) -> None:
    """Take an artifact out of the way of which there is no record: something removed it.

    If it is another one that has just come, it gets its place back.
    """
    final, aside = store.folder(key), store.temporary(key)
    with suppress(FileNotFoundError):
        final.rename(aside)
        if (aside / RECORD).exists() or store.record(key) is not None:
            with suppress(OSError):  # a third one is in place by now
                aside.rename(final)
        shutil.rmtree(aside, ignore_errors=True)


def _finish(folder: Path) -> None:
    """Let others read every file below a folder as the umask allows, and make it durable.

    A power cut could otherwise leave the record and lose what it describes; and safetensors
    makes files that only their owner can read, while a store may be shared.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            files.share(path)
            files.make_durable(path)
