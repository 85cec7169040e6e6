"""A store on object storage, by an fsspec URL: ``s3://bucket/prefix``.

::

    store.json                          version of the layout
    records/<key>.json                  one JSON record a stage, created once: the stage is done
    artifacts/<key>/<SHA-256>/<name>    the files of an artifact, each below its hash

Objects are not renamed. So a file has a name that only its content has, and the record is written
last, on the condition that there is none: of several writers the first stays, and what another has
uploaded takes no place of its files.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from backbench.errors import BackbenchError, StoreError, UsageError, is_name
from backbench.store import MOST_BYTES
from backbench.store.records import Record
from backbench.system import files

#: Errors of a write on a condition: it does not hold, or another write is under way.
_REFUSED: Final = {errno.EINVAL, errno.EBUSY}

#: Fields of a listing that change when an object does, by file system.
_VERSION: Final = ("ETag", "etag", "md5Hash", "created", "mtime", "LastModified", "size")

#: Records that are fetched at once.
_AT_ONCE: Final = 500


class Remote:
    """Records and artifacts below a URL.

    Args:
        url: The URL, with the protocol of an fsspec file system.

    Raises:
        UsageError: If there is no such protocol, its package is not installed, or its file system
            cannot be opened; if the URL names nothing on it.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        protocol, _, named = url.partition("://")
        if not named.strip("/"):
            raise UsageError(f"{url}: names no store: write {protocol}://BUCKET/PREFIX")
        self.url = url.rstrip("/")
        try:
            self._files, root = fsspec.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            raise UsageError(
                f"{url}: needs a package that is not installed ({error}): for s3:// `pip install "
                '"backbench[s3]"`'
            ) from error
        except Exception as error:  # each file system of fsspec has errors of its own
            raise UsageError(f"{url}: cannot be used as a store ({_reason(error)})") from error
        self._root = str(root).rstrip("/")

    def marker(self) -> bytes | None:
        """Return the content of ``store.json``; ``None`` if no store is there."""
        with self._speaking("read"):
            try:
                return bytes(self._files.cat_file(f"{self._root}/store.json"))
            except FileNotFoundError:
                return None

    def prepare(self, marker: bytes) -> None:
        """Make the store, unless it is there.

        Raises:
            UsageError: If the storage cannot be written, or ignores conditions on writes.
        """
        try:
            if self.create("store.json", marker) and self.create("store.json", marker):
                raise UsageError(
                    f"{self.url}: this storage overwrites what is to be created once "
                    "(If-None-Match), and cannot hold a store"
                )
        except StoreError as error:
            raise UsageError(str(error)) from error

    def versions(self) -> dict[str, str]:
        """Return the keys that have a record, each with what changes when its record does."""
        with self._speaking("read"):
            try:
                found = self._files.ls(f"{self._root}/records", detail=True)
            except FileNotFoundError:
                return {}
        names = {str(one["name"]).rpartition("/")[2]: one for one in found}
        for name, one in names.items():
            if one["size"] > MOST_BYTES:
                raise StoreError(
                    f"{self.url}/records/{name}: {one['size']:,} bytes, which no record has"
                )
        keys = {name.removesuffix(".json"): one for name, one in names.items() if _is_record(name)}
        return {
            key: "|".join(str(one.get(field)) for field in _VERSION) for key, one in keys.items()
        }

    def records(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield records, many at a time; one that is gone is left out."""
        left = list(keys)
        while left:
            paths = {f"{self._root}/records/{key}.json": key for key in left[:_AT_ONCE]}
            del left[:_AT_ONCE]
            with self._speaking("read"):
                found = self._files.cat(list(paths), on_error="return")
                for path, content in found.items():
                    if isinstance(content, bytes):
                        yield paths[path if path in paths else f"/{path}"], content
                    elif not isinstance(content, FileNotFoundError):
                        raise content

    def create(self, name: str, content: bytes) -> bool:
        """Write an object if there is none; return whether there was none."""
        path = f"{self._root}/{name}"
        with self._speaking("written"):
            for _ in files.looks_for():
                try:
                    self._files.pipe_file(path, content, mode="create")
                except FileExistsError:
                    return False
                except OSError as error:
                    if error.errno not in _REFUSED:
                        raise
                    if self._files.exists(path):
                        return False
                else:
                    return True
        raise StoreError(f"{self.url}/{name}: is refused again and again: run again")

    def push(self, folder: Path, record: Record) -> None:
        """Upload the files of an artifact that are not there.

        Raises:
            StoreError: If they cannot be written.
        """
        targets = self._paths(record)
        missing = self._wrong_size(record)
        with self._speaking("written"):
            if missing:
                sources = [str(folder / name) for name in missing]
                self._files.put(sources, [targets[name] for name in missing])

    def pull(self, record: Record, folder: Path) -> None:
        """Download the files of an artifact and compare them with their record.

        Raises:
            StoreError: If one is missing, or is not what its record states.
        """
        sources = self._paths(record)
        for name in self._wrong_size(record):  # before anything larger is fetched
            raise self._not_as_recorded(record, name)
        for name in sources:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with self._speaking("read"):
            if sources:
                targets = [str(folder / name) for name in sources]
                self._files.get(list(sources.values()), targets)
        for name, said in record.files.items():
            path = folder / name
            if path.stat().st_size != said["bytes"] or files.sha256(path) != said["sha256"]:
                raise self._not_as_recorded(record, name)

    def delete(self, key: str) -> None:
        """Remove all that there is of a stage, its record first."""
        with self._speaking("written"):
            for path in (f"records/{key}.json", f"artifacts/{key}"):
                try:
                    self._files.rm(f"{self._root}/{path}", recursive=True)
                except FileNotFoundError:
                    continue

    def _wrong_size(self, record: Record) -> list[str]:
        """Return the files of an artifact that are not there, or have another size."""
        with self._speaking("read"):
            try:
                there = self._files.find(f"{self._root}/artifacts/{record.key}", detail=True)
            except FileNotFoundError:
                there = {}
        sizes = {path.lstrip("/"): one["size"] for path, one in there.items()}
        return [
            name
            for name, path in self._paths(record).items()
            if sizes.get(path.lstrip("/")) != record.files[name]["bytes"]
        ]

    def _not_as_recorded(self, record: Record, name: str) -> StoreError:
        return StoreError(
            f"{self.url}/artifacts/{record.key}/…/{name}: not what its record says: {record.remedy}"
        )

    def _paths(self, record: Record) -> Mapping[str, str]:
        """Return where the files of an artifact are, by name."""
        top = f"{self._root}/artifacts/{record.key}"
        return {name: f"{top}/{said['sha256']}/{name}" for name, said in record.files.items()}

    @contextmanager
    def _speaking(self, what: str) -> Iterator[None]:
        """Turn any error of a storage, whose libraries have their own, into one sentence."""
        try:
            yield
        except BackbenchError:
            raise
        except Exception as error:
            raise StoreError(f"{self.url}: cannot be {what}: {_reason(error)}") from error


def _is_record(name: str) -> bool:
    """Return whether an object can be a record: its key names a folder, and not ``..``."""
    return name.endswith(".json") and is_name(name.removesuffix(".json"))


def _reason(error: Any) -> str:
    """Return the first line of an error."""
    return (str(error) or type(error).__name__).partition("\n")[0]
