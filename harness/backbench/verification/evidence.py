"""Sources of records and artifacts: a store, or a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backbench.images import read_only
from backbench.poison.manifest import ManifestEntry
from backbench.store.metadata import Metadata
from backbench.store.records import Record
from backbench.store.store import Store
from backbench.system.json_text import from_json

#: Records that are kept at hand: evaluations read those of their dataset and features.
AT_HAND = 256


#: Most bytes of a JSON text, and most values in it: the index of ImageNet has three million.
_MOST_JSON, _MOST_VALUES = 2**27, 5_000_000


class Evidence(Protocol):
    """Gives records, and files of artifacts."""

    def record(self, key: str) -> Record | None:
        """Return a finished stage's record, or ``None``."""
        ...

    def read(self, key: str, name: str) -> bytes:
        """Return a file of a stage's artifact.

        Raises:
            OSError: If it cannot be read.
            KeyError: If it is not there.
        """
        ...


class StoreEvidence:
    """The files of a store; ``records`` are those that have been read, by key."""

    def __init__(self, store: Store, records: Mapping[str, Record] | None = None) -> None:
        self._store = store
        self._records = records or {}
        self._readable = lru_cache(maxsize=AT_HAND)(store.readable)

    def record(self, key: str) -> Record | None:
        """Return a finished stage's record, or ``None``."""
        return self._records.get(key) or self._readable(key)

    def read(self, key: str, name: str) -> bytes:
        """Return a file of a stage's artifact."""
        return self._store.read(key, name)


def parse_json(content: bytes) -> Any:
    """Parse JSON that may be a stranger's: of values that are not finite or too many, nothing.

    Raises:
        ValueError: If it is not JSON, or more than is read.
    """
    values = sum(map(content.count, (b",", b"[", b"{")))
    if len(content) > _MOST_JSON or values > _MOST_VALUES:
        raise ValueError(f"JSON of {len(content):,} bytes and {values:,} values is not read")
    return from_json(content)


def known(evidence: Evidence, key: str) -> Record:
    """Return the record of a stage that another one has read.

    Raises:
        ValueError: If it is not there.
    """
    record = evidence.record(key)
    if record is None:
        raise ValueError(f"the stage {key}, which it read, has no record")
    return record


def metadata_differences(record: Record, found: Metadata) -> Iterator[str]:
    """Compare the metadata of a record with those found again, which may have fewer fields."""
    for field in fields(found):
        said, value = getattr(record.metadata, field.name, None), getattr(found, field.name)
        if said != value:
            yield f"its record says {field.name} = {said!r}, and it is {value!r}"


def index_of(evidence: Evidence, dataset: str) -> Mapping[str, Any]:
    """Return the index of a dataset: classes, sources and labels."""
    index: dict[str, Any] = parse_json(evidence.read(dataset, "index.json"))
    return index


def val_labels(evidence: Evidence, dataset: str) -> NDArray[np.int64]:
    """Return the classes of a dataset's validation images, (N,), read-only."""
    return _val_labels(evidence.read(dataset, "index.json"))


@lru_cache(maxsize=2)
def _val_labels(index: bytes) -> NDArray[np.int64]:
    """Parse an index: all evaluations of a dataset read the same."""
    return read_only(np.asarray(parse_json(index)["val"]["labels"], dtype=np.int64))


def manifest(evidence: Evidence, poison: str, split: str) -> list[ManifestEntry]:
    """Return the manifest of a poison's split."""
    lines = evidence.read(poison, f"{split}.jsonl").splitlines()
    return [ManifestEntry.of(parse_json(line)) for line in lines]
