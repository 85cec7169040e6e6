"""Copy the stages that another store lacks, each compared with its record on the way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

from backbench.errors import StoreError
from backbench.store.records import Record
from backbench.store.store import Store, hash_files

#: Stages that are copied at a time, if a storage is one of the stores.
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Copied:
    """A stage that a store lacked.

    Args:
        label: The stage's label, or its key if its record cannot be read.
        size: Bytes of its artifact.
        problem: Why it was not copied; empty if it was.
    """

    label: str
    size: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """The stages that a store lacks.

    Args:
        generations: Their records, each in a generation after those that it reads.
        unreadable: The stages whose records cannot be read.
    """

    generations: tuple[tuple[Record, ...], ...]
    unreadable: tuple[Copied, ...] = ()


def missing_in(target: Store, source: Store) -> Missing:
    """Return what a store lacks of another one."""
    records, unreadable = {}, []
    for key in sorted(source.recorded() - target.done()):
        try:
            record = source.record(key)
        except StoreError as error:
            unreadable.append(Copied(key, problem=str(error)))
            continue
        if record is not None:
            records[key] = record
    return Missing(tuple(_generations(records)), tuple(unreadable))


def copy_missing(missing: Missing, source: Store, target: Store) -> Iterator[Copied]:
    """Copy stages, inputs first; yield each, also those that are damaged and not copied.

    What is copied twice at the same time, or was copied by a call that was interrupted, is kept
    once.
    """
    yield from missing.unreadable
    target.prepare()
    far = source.remote is not None or target.remote is not None
    with ThreadPoolExecutor(_AT_ONCE if far else 1) as pool:
        for records in missing.generations:
            yield from pool.map(partial(_copy, source=source, target=target), records)


def _generations(records: dict[str, Record]) -> Iterator[tuple[Record, ...]]:
    """Yield the stages that read none of later ones, then those that read these, and so on."""
    inputs = {
        key: [one for one in record.stage.inputs.values() if one in records]
        for key, record in records.items()
    }
    sorter = TopologicalSorter(inputs)
    try:
        sorter.prepare()
    except CycleError as error:
        raise StoreError(f"records that read each other: {', '.join(error.args[1])}") from error
    while ready := sorted(sorter.get_ready()):
        yield tuple(records[key] for key in ready)
        sorter.done(*ready)


def _copy(record: Record, source: Store, target: Store) -> Copied:
    """Copy one stage, if its files are what its record states."""
    with target.writing(record.key) as folder:
        try:
            _take(record, source, folder)
        except (StoreError, OSError) as error:
            return Copied(record.label, problem=str(error))
        target.publish(folder, record)
        target.evict(record.key)  # a storage has it now
    return Copied(record.label, sum(said["bytes"] for said in record.files.values()))


def _take(record: Record, source: Store, folder: Path) -> None:
    """Copy the files of an artifact, and compare them with their record.

    Raises:
        StoreError: Naming the file that is not what its record states.
    """
    if source.remote is not None:
        source.remote.pull(record, folder)
        return
    there = source.folder(record.key)
    for name in record.files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(there / name, path)
    found = hash_files(folder)
    for name, said in record.files.items():
        if found[name] != said:
            raise StoreError(f"{there / name}: not what its record says: {record.remedy}")
