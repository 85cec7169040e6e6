"""The folder of a store on this machine: what lies where, and the records in it.

::

    store/
      store.json               version of this layout
      artifacts/<key>/…        what a stage wrote: safetensors, JSON, JSONL, PNG
      records/<key>.json       one JSON record a stage: it exists if and only if the stage is done
      failures/<key>.json      why the last try of a stage failed
      checkpoints/<key>.safetensors   how far a training has come; gone when its stage is done
      building/<key>/…         how far the decoding of a dataset has come; gone when it is done
      imported/<SHA-256>/…     bundles of others, as they came
      files.json               remembered hashes of outside files
      encoders.json            remembered: what files of [encoders] are
      logs/  tmp/  lock        workers' output, progress.json; what is being written; held by a run
      locks/<key>              held by a process that makes a single stage
      remote.json              URL of the storage whose records this folder mirrors, if it does
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbench.errors import StoreError, UsageError
from backbench.store import MOST_BYTES
from backbench.system import files
from backbench.system.json_text import from_json, to_json

if TYPE_CHECKING:
    from backbench.store.records import Record
    from backbench.store.remote import Remote

#: Version of the layout; another version is refused.
LAYOUT = 1

#: Marks a folder as a store, with its layout.
MARKER = "store.json"
MARKER_TEXT = to_json({"layout": LAYOUT}) + "\n"

#: Folders that every store has.
_FOLDERS = ("artifacts", "records", "failures", "logs", "tmp")

#: Names the storage that a folder mirrors: see :mod:`backbench.store.location`.
REMOTE = "remote.json"

#: A record on its way: it lies in its artifact until both are in place.
RECORD = ".record.json"

#: Suffix of a record that was put aside, and of its artifact.
FORGOTTEN = ".forgotten"


class StoreFolder:
    """Folder of a store, with what lies in it. Reading never creates anything.

    Args:
        root: The folder.

    Raises:
        UsageError: If the folder holds something else, or a store of another version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._records, self._artifacts = f"{root}/records", f"{root}/artifacts"
        self.url = _url_of(root)
        try:
            marker = _read_json(root / MARKER)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{root / MARKER}: cannot be read ({files.read_failure(error)}): if {root} is a "
                f'store, write {{"layout": {LAYOUT}}} into this file'
            ) from error
        if marker is not None:
            layout = marker.get("layout")
            if layout != LAYOUT:
                raise UsageError(
                    f"{root}: a store of layout {layout}, this backbench has {LAYOUT}: "
                    "choose another folder with --store"
                )
        elif self.url is None and not _is_empty(root):
            raise UsageError(f"{root}: not a backbench store: choose another folder with --store")

    @cached_property
    def remote(self) -> Remote | None:
        """The storage that the folder mirrors; ``None`` of a store that is a folder alone."""
        if self.url is None:
            return None
        from backbench.store.remote import Remote

        return Remote(self.url)

    @property
    def name(self) -> str:
        """The folder, or the URL that it mirrors: what ``--store`` takes on another machine."""
        return str(self.root) if self.url is None else self.url

    @property
    def exists(self) -> bool:
        """Return whether some run has made the store."""
        return (self.root / MARKER).is_file()

    def prepare_here(self) -> None:
        """Make the folders on this machine.

        Raises:
            UsageError: If they cannot be made.
        """
        if not _is_utf8(self.root.absolute()):
            raise UsageError(
                f"{self.root.absolute()}: its path is not UTF-8, and artifacts cannot be written "
                "there: choose another folder with --store"
            )
        try:
            if not self.exists:
                files.write(self.root / MARKER, MARKER_TEXT)
            for name in _FOLDERS:
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{self.root}: cannot be written ({error.strerror}): choose another folder with "
                "--store"
            ) from error

    @property
    def files_cache(self) -> Path:
        """The file of the remembered hashes of outside files."""
        return self.root / "files.json"

    @property
    def progress(self) -> Path:
        """The file in which a run keeps how far it is, for those who watch it."""
        return self.root / "logs" / "progress.json"

    def log(self, worker: str) -> Path:
        """Return the file that takes a worker's output."""
        return self.root / "logs" / f"{worker}.log"

    def folder(self, key: str) -> Path:
        """Return the folder that a stage's artifact has on this machine; it may not be there."""
        return Path(self.root, "artifacts", key)

    def size_of(self, key: str, name: str) -> int:
        """Return the bytes of a file of an artifact on this machine; an OSError if it has none."""
        path = f"{self._artifacts}/{key}/{name}"  # a Path is slow to make, ten thousand times
        return os.stat(path).st_size  # noqa: PTH116

    def checkpoint(self, key: str) -> Path:
        """Return the file in which a stage's training keeps its state until it is done."""
        return self.root / "checkpoints" / f"{key}.safetensors"

    def building(self, key: str) -> Path:
        """Return the folder in which a stage builds what outlives a run that is killed."""
        return self.root / "building" / key

    def recorded(self) -> set[str]:
        """Return the keys that have a record."""
        names = (name for name in self.names("records") if name.endswith(".json"))
        return {name.removesuffix(".json") for name in names}

    def done(self) -> set[str]:
        """Return the keys of all finished stages: those that have a record and an artifact."""
        recorded = self.recorded()
        return recorded if self.url is not None else recorded & self.names("artifacts")

    def record(self, key: str) -> Record | None:
        """Return a finished stage's record, or ``None``.

        Raises:
            StoreError: If it cannot be read.
        """
        path = f"{self._records}/{key}.json"  # a Path is slow to make, ten thousand times
        try:
            found = read_record(path)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path}: cannot be read as a record ({files.read_failure(error)}): `backbench "
                "run` makes its stage again"
            ) from error
        if found is not None and found.key != key:
            raise StoreError(f"{path}: is the record of {found.key}: remove it and run again")
        return found

    def record_bytes(self, key: str) -> bytes:
        """Return a record's file as it is; an OSError if it cannot be read."""
        return files.read_regular(f"{self._records}/{key}.json", MOST_BYTES)

    def readable(self, key: str) -> Record | None:
        """Return a record; ``None`` also where :meth:`failure` returns why it cannot be read."""
        try:
            return self.record(key)
        except StoreError:
            return None

    def write_failure(self, key: str, failure: Mapping[str, Any]) -> None:
        """Remember why a stage failed."""
        text = to_json(failure, indent=1) + "\n"
        files.write(self.root / "failures" / f"{key}.json", text)

    def failure(self, key: str) -> Mapping[str, Any] | None:
        """Return why a stage that is not done failed the last time, or ``None``.

        Returns:
            ``reason`` and, where it is known, ``label``; the reason may be a damaged record.
        """
        path = self.root / "failures" / f"{key}.json"
        unknown = {"reason": f"{path}: cannot be read: run again"}
        try:
            self.record(key)
            found = _read_json(path)
        except StoreError as error:
            return {"reason": str(error)}
        except (OSError, ValueError):
            return unknown
        return None if found is None else {**unknown, **found}

    def names(self, folder: str) -> set[str]:
        """Return the names of what one of the store's folders holds; none if it is not there."""
        try:
            return set(os.listdir(self.root / folder))  # noqa: PTH208 - makes no Path of each
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def held_in(self, name: str, pattern: str) -> Iterator[Path]:
        """Yield what a folder of the store holds; what a link to elsewhere holds is not ours."""
        folder = self.root / name
        if not folder.is_symlink():
            yield from folder.glob(pattern)

    def temporary(self, key: str) -> Path:
        """Return a path of this process alone, on the file system of the store."""
        return self.root / "tmp" / f"{key}-{files.owned_name()}"

    def clear(self, key: str) -> None:
        """Remove what a stage needed until it was done."""
        for name in (f"failures/{key}.json", f"records/{key}{FORGOTTEN}"):
            files.remove(self.root / name)
        forgotten = self.folder(key).with_suffix(FORGOTTEN)
        for path in (forgotten, self.checkpoint(key), self.building(key)):
            files.remove(path)


def is_published(artifact: Path) -> bool:
    """Return whether an artifact holds its record: a run was killed before it moved that."""
    return (artifact / RECORD).is_file()


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_empty(root: Path) -> bool:
    """Return whether a store can be made: no files but those of systems and killed runs.

    Schedulers such as Snakemake make the folder of a file that a job will write.
    """
    try:
        return all(
            _is_passed_over(path.name) or (path.name in _FOLDERS and not any(path.iterdir()))
            for path in root.iterdir()
        )
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False
    except OSError as error:
        raise UsageError(f"{root}: cannot be read ({error.strerror})") from error


def _is_passed_over(name: str) -> bool:
    return name.startswith(f".{MARKER}.") or files.is_of_system(name)


def _url_of(root: Path) -> str | None:
    """Return the URL of the storage that a folder mirrors, if it does.

    Raises:
        UsageError: If the file that names it cannot be read.
    """
    try:
        found = _read_json(f"{root}/{REMOTE}")
        return None if found is None else str(found["url"])
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{root / REMOTE}: cannot be read: remove the folder") from error


def read_record(path: Path | str) -> Record | None:
    """Read a record; ``None`` if the file is not there.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds something else.
    """
    if (content := _read_json(path)) is None:
        return None
    from backbench.store.records import Record  # here: a new store has no records

    return Record.from_json(content)


def _read_json(path: Path | str) -> dict[str, Any] | None:
    """Read a JSON object; ``None`` if the file is not there.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds something else, or a number that is not finite.
    """
    try:
        content = from_json(files.read_regular(path, MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - of its content
    return content
