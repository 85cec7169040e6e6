"""The store: content-addressed artifacts, written once and by rename, and a record a stage.

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
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from backbench.errors import StoreError, UsageError
from backbench.store.records import Record
from backbench.system import files
from backbench.system.json_text import from_json, to_json

#: Version of the layout; another version is refused.
LAYOUT = 1

#: A larger JSON file is none of ours: an index of a million images is no record.
_MOST_BYTES = 1 << 26

#: Marks a folder as a store, with its layout.
MARKER = "store.json"

#: Suffix of a record that was put aside.
FORGOTTEN = ".forgotten"


class Store:
    """Artifacts and records below one folder.

    Reading never creates anything; the folder is made by the first write.

    Args:
        root: The folder.

    Raises:
        UsageError: If the folder holds something else, or a store of another version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._records = os.fspath(root / "records")
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
        elif not _is_empty(root):
            raise UsageError(f"{root}: not a backbench store: choose another folder with --store")

    @property
    def exists(self) -> bool:
        """Return whether some run has made the store."""
        return (self.root / MARKER).is_file()

    def prepare(self) -> None:
        """Make the folders, the marker first: whatever is killed later leaves a store.

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
                files.write(self.root / MARKER, to_json({"layout": LAYOUT}) + "\n")
            for name in ("artifacts", "records", "failures", "logs", "tmp"):
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

    def artifact(self, key: str) -> Path:
        """Return the folder of a finished stage's artifact."""
        return Path(self.root, "artifacts", key)

    def checkpoint(self, key: str) -> Path:
        """Return the file in which a stage's training keeps its state until it is done."""
        return self.root / "checkpoints" / f"{key}.safetensors"

    def building(self, key: str) -> Path:
        """Return the folder in which a stage builds what outlives a run that is killed."""
        return self.root / "building" / key

    def recorded(self) -> set[str]:
        """Return the keys that have a record."""
        names = (name for name in self._names("records") if name.endswith(".json"))
        return {name.removesuffix(".json") for name in names}

    def done(self) -> set[str]:
        """Return the keys of all finished stages: those that have a record and an artifact."""
        return self.recorded() & self._names("artifacts")

    def record(self, key: str) -> Record | None:
        """Return a finished stage's record, or ``None``.

        Raises:
            StoreError: If it cannot be read.
        """
        path = f"{self._records}/{key}.json"  # a Path is slow to make, ten thousand times
        try:
            content = _read_json(path)
            found = Record.from_json(content) if content is not None else None
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
        return files.read_regular(f"{self._records}/{key}.json", _MOST_BYTES)

    def readable(self, key: str) -> Record | None:
        """Return a record; ``None`` also where :meth:`failure` returns why it cannot be read."""
        try:
            return self.record(key)
        except StoreError:
            return None

    def forget(self, key: str) -> None:
        """Put a stage's record aside: it is not done then, and will be done again.

        Its artifact stays until another takes its place.
        """
        path = self.root / "records" / f"{key}.json"
        files.remove(path.with_suffix(FORGOTTEN))
        with suppress(FileNotFoundError):
            path.rename(path.with_suffix(FORGOTTEN))

    def remove(self, key: str) -> None:
        """Remove all that there is of a stage, its record first."""
        files.remove(self.root / "records" / f"{key}.json")
        files.remove(self.artifact(key))
        self._clear(key)

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """Give a private folder to write an artifact in; it is removed unless it is published."""
        parent = self.root / "tmp"
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=parent))
        files.share(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, folder: Path, record: Record) -> None:
        """Move an artifact into place, then write its record.

        A reader sees the whole of a stage or nothing: the record comes last.

        Raises:
            StoreError: If the stage is done already.
        """
        if self.record(record.key) is not None:
            raise StoreError(f"{self.root}: stage {record.key} is done already")
        what = f"the record of {record.label!r}"
        text = to_json(record.to_json(), what, indent=1) + "\n"  # may fail; nothing has moved yet
        _finish(folder)
        final = self.artifact(record.key)
        final.parent.mkdir(parents=True, exist_ok=True)
        files.remove(final)  # a run was killed between the rename and the record
        folder.rename(final)
        files.write(self.root / "records" / f"{record.key}.json", text)
        with suppress(OSError):  # the stage is done; the next run removes what is left
            self._clear(record.key)

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

    def _names(self, folder: str) -> set[str]:
        try:
            return {entry.name for entry in os.scandir(self.root / folder)}
        except (FileNotFoundError, NotADirectoryError):
            return set()

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
        with files.locked(self.root / "lock", busy):
            yield

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the store for one run, and remove what killed runs have left half-written.

        Raises:
            UsageError: If another run holds it.
        """
        self.prepare()
        with self.held():
            self._clear_leftovers()
            try:
                yield
            finally:
                self._clear_tmp()

    def _clear(self, key: str) -> None:
        """Remove what a stage needed until it was done."""
        for name in (f"failures/{key}.json", f"records/{key}{FORGOTTEN}"):
            files.remove(self.root / name)
        for path in (self.checkpoint(key), self.building(key)):
            files.remove(path)

    def _clear_leftovers(self) -> None:
        """Remove what a run left that was killed while it wrote, or between record and end."""
        self._clear_tmp()
        left = [*self.root.glob(".*.partial")]
        for name in ("records", "failures", "checkpoints"):
            left += (self.root / name).glob(".*")
        for path in left:
            path.unlink(missing_ok=True)
        done = self.done()
        for name in ("failures", "checkpoints", "building"):
            for key in done.intersection(path.stem for path in (self.root / name).glob("*")):
                with suppress(OSError):  # of another user, perhaps
                    self._clear(key)

    def _clear_tmp(self) -> None:
        shutil.rmtree(self.root / "tmp", ignore_errors=True)
        (self.root / "tmp").mkdir(exist_ok=True)


def _finish(folder: Path) -> None:
    """Let others read every file below a folder as the umask allows, and make it durable.

    A power cut could otherwise leave the record and lose what it describes; and safetensors
    makes files that only their owner can read, while a store may be shared.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            files.share(path)
            files.make_durable(path)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file below a folder, by relative path, sorted."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found[path.relative_to(folder).as_posix()] = {
            "bytes": path.stat().st_size,
            "sha256": files.sha256(path),
        }
    return found


def _is_empty(root: Path) -> bool:
    """Return whether a store can be made: no files but those of systems and killed runs."""
    try:
        return all(_is_passed_over(path.name) for path in root.iterdir())
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False
    except OSError as error:
        raise UsageError(f"{root}: cannot be read ({error.strerror})") from error


def _is_passed_over(name: str) -> bool:
    return name.startswith(f".{MARKER}.") or files.is_of_system(name)


def _read_json(path: Path | str) -> dict[str, Any] | None:
    """Read a JSON object; ``None`` if the file is not there.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds something else, or a number that is not finite.
    """
    try:
        content = from_json(files.read_regular(path, _MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - of its content
    return content
