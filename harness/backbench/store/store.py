"""The store: content-addressed artifacts, written once and by rename, and a record a stage."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbench.errors import NotReadyError, UsageError
from backbench.store import publishing
from backbench.store.clearing import clear_leftovers, clear_tmp
from backbench.store.store_folder import FORGOTTEN, MARKER_TEXT, StoreFolder, is_published
from backbench.system import files
from backbench.system.locks import locked

if TYPE_CHECKING:
    from backbench.store.records import Record

#: Artifacts that are fetched at a time.
_FETCHERS = 8


class Store(StoreFolder):
    """Artifacts and records below one folder, and in the storage that it mirrors, if it does.

    The folder is made by the first write.
    """

    def prepare(self) -> None:
        """Make the store, the marker first: whatever is killed later leaves a store.

        Raises:
            UsageError: If it cannot be made.
        """
        if self.remote is not None:
            self.remote.prepare(MARKER_TEXT.encode())
        self.prepare_here()

    def artifact(self, key: str) -> Path:
        """Return the folder of a finished stage's artifact; it is fetched if it is elsewhere.

        Raises:
            StoreError: If it cannot be fetched, or is not what its record states.
        """
        folder = self.folder(key)
        if self.url is not None and key and not folder.is_dir():
            self._fetch(key)
        return folder

    def read(self, key: str, name: str) -> bytes:
        """Return a file of a finished stage's artifact, which is fetched if it is elsewhere.

        Raises:
            OSError: If it cannot be read.
            StoreError: See :meth:`artifact`.
        """
        if self.url is not None:
            self.artifact(key)
        return files.read_regular(f"{self._artifacts}/{key}/{name}")

    def fetch(self, keys: Iterable[str]) -> None:
        """Fetch the artifacts of finished stages that are elsewhere, several at a time.

        Raises:
            StoreError: See :meth:`artifact`.
        """
        if self.url is None:
            return
        wanted = (self.recorded() - self.names("artifacts")).intersection(keys)
        with ThreadPoolExecutor(_FETCHERS) as pool:
            for _ in pool.map(self._fetch, sorted(wanted)):
                pass

    def evict(self, key: str, *, with_record: bool = False) -> bool:
        """Remove from this machine what a storage has; return whether it is fetched again."""
        if self.url is None or is_published(self.folder(key)):  # that is yet to be uploaded
            return False
        if with_record:
            files.remove(self.root / "records" / f"{key}.json")
        files.remove(self.folder(key))
        return True

    def _fetch(self, key: str) -> None:
        """Fetch an artifact, unless its stage is not done."""
        record = self.readable(key)
        if record is None or self.remote is None:
            return
        with self.writing(key) as folder:
            self.remote.pull(record, folder)
            self.folder(key).parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.rename(self.folder(key))
            except OSError as error:
                if error.errno not in publishing.TAKEN:  # another process was faster
                    raise

    def fetch_record(self, key: str) -> None:
        """Fetch a record that another machine has written to the storage that this mirrors."""
        if self.remote is not None and self.record(key) is None:
            for _, content in self.remote.records([key]):
                files.write(self.root / "records" / f"{key}.json", content, durable=False)

    def awaited(self, key: str) -> Record | None:
        """Return a record that another machine may just have written: see :func:`files.looks_for`.

        Raises:
            StoreError: If it cannot be read.
        """
        self.fetch_record(key)
        for _ in files.looks_for(self.root / "records"):
            if (found := self.record(key)) is not None and self.artifact(key).is_dir():
                return found
        return found

    def forget(self, key: str) -> None:
        """Put a stage's record and artifact aside: it is not done then, and will be done again.

        They stay on this machine until the stage is done.
        """
        if self.remote is not None:
            self.remote.delete(key)
        for path in (self.root / "records" / f"{key}.json", self.folder(key)):
            aside = path.with_suffix(FORGOTTEN)
            files.remove(aside)
            with suppress(FileNotFoundError):
                path.rename(aside)

    def remove(self, key: str) -> None:
        """Remove all that there is of a stage, its record first."""
        if self.remote is not None:
            self.remote.delete(key)
        files.remove(self.root / "records" / f"{key}.json")
        files.remove(self.folder(key))
        self.clear(key)

    def writing(self, key: str) -> AbstractContextManager[Path]:
        """Give a private folder to write an artifact in; it is removed unless it is published."""
        return publishing.writing(self, key)

    def publish(self, folder: Path, record: Record) -> Record:
        """Move an artifact with its record into place, unless another process was faster.

        Returns:
            The record in the store: that of another process if it was the first.
        """
        return publishing.publish(self, folder, record)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep runs from using the store meanwhile.

        Raises:
            UsageError: If a run holds it.
        """
        busy = UsageError(
            f"{self.root}: another run is using this store: wait for it, or choose another "
            "folder with --store"
        )
        with locked(self.root / "lock", busy):
            yield

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the store for one run, and remove what killed runs have left half-written.

        Raises:
            UsageError: If another run holds it.
        """
        self.prepare()
        with self.held():
            clear_leftovers(self)
            try:
                yield
            finally:
                clear_tmp(self)

    @contextmanager
    def making(self, key: str) -> Iterator[None]:
        """Hold one stage, beside processes that hold other stages, so that it is made once.

        Raises:
            NotReadyError: If another process holds it.
        """
        path = self.root / "locks" / key
        busy = NotReadyError(f"{self.root}: another process is making the stage {key}: try later")
        try:
            with locked(path, busy):
                yield
        finally:
            if key in self.done():
                with suppress(OSError):
                    files.remove(path)

    def being_made(self) -> set[str]:
        """Return the keys of the stages that processes hold by :meth:`making`."""
        found = set()
        for key in {name.removesuffix(".held") for name in self.names("locks")}:
            try:
                with locked(self.root / "locks" / key, BlockingIOError()):
                    pass
            except BlockingIOError:
                found.add(key)
        return found


def hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file below a folder, by relative path, sorted."""
    return {
        "/".join(parts): {"bytes": size, "sha256": files.sha256(path)}
        for parts, size, path in sorted(_files_below(os.fspath(folder)))
    }


def _files_below(folder: str, *above: str) -> Iterator[tuple[tuple[str, ...], int, str]]:
    """Yield the parts of each file's relative path, its size and its path: Paths are slow."""
    with os.scandir(folder) as entries:
        for entry in entries:
            parts = (*above, entry.name)
            if entry.is_file():
                yield parts, entry.stat().st_size, entry.path
            elif entry.is_dir(follow_symlinks=False):
                yield from _files_below(entry.path, *parts)
