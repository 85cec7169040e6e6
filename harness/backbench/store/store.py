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
      locks/<key>              held by a process that makes a single stage
      remote.json              URL of the storage whose records this folder mirrors, if it does
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbench.errors import NotReadyError, StoreError, UsageError
from backbench.store import MOST_BYTES, leases
from backbench.system import files
from backbench.system.json_text import from_json, to_json
from backbench.system.locks import locked

if TYPE_CHECKING:
    from backbench.store.records import Record
    from backbench.store.remote import Remote

#: Version of the layout; another version is refused.
LAYOUT = 1

#: Marks a folder as a store, with its layout.
MARKER = "store.json"
_MARKER_TEXT = to_json({"layout": LAYOUT}) + "\n"

#: Folders that every store has.
_FOLDERS = ("artifacts", "records", "failures", "logs", "tmp")

#: Names the storage that a folder mirrors: see :mod:`backbench.store.location`.
REMOTE = "remote.json"

#: Artifacts that are fetched at a time.
_FETCHERS = 8

#: Suffix of a record that was put aside, and of its artifact.
FORGOTTEN = ".forgotten"

#: A record on its way: it lies in its artifact until both are in place.
_RECORD = ".record.json"

#: Errors of a rename to a folder that is there already. A network drive that sends a rename twice
#: reports that its source is gone.
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT}


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
        self._records, self._artifacts = f"{root}/records", f"{root}/artifacts"
        self._url = _url_of(root)
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
        elif self._url is None and not _is_empty(root):
            raise UsageError(f"{root}: not a backbench store: choose another folder with --store")

    @cached_property
    def remote(self) -> Remote | None:
        """The storage that the folder mirrors; ``None`` of a store that is a folder alone."""
        from backbench.store.remote import Remote

        return None if self._url is None else Remote(self._url)

    @property
    def name(self) -> str:
        """The folder, or the URL that it mirrors: what ``--store`` takes on another machine."""
        return str(self.root) if self._url is None else self._url

    @property
    def exists(self) -> bool:
        """Return whether some run has made the store."""
        return (self.root / MARKER).is_file()

    def prepare(self) -> None:
        """Make the store, the marker first: whatever is killed later leaves a store.

        Raises:
            UsageError: If it cannot be made.
        """
        if self.remote is not None:
            self.remote.prepare(_MARKER_TEXT.encode())
        self.prepare_here()

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
                files.write(self.root / MARKER, _MARKER_TEXT)
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

    def artifact(self, key: str) -> Path:
        """Return the folder of a finished stage's artifact; it is fetched if it is elsewhere.

        Raises:
            StoreError: If it cannot be fetched, or is not what its record states.
        """
        folder = self.folder(key)
        if self._url is not None and key and not folder.is_dir():
            self._fetch(key)
        return folder

    def folder(self, key: str) -> Path:
        """Return the folder that a stage's artifact has on this machine; it may not be there."""
        return Path(self.root, "artifacts", key)

    def read(self, key: str, name: str) -> bytes:
        """Return a file of a finished stage's artifact, which is fetched if it is elsewhere.

        Raises:
            OSError: If it cannot be read.
            StoreError: See :meth:`artifact`.
        """
        if self._url is not None:
            self.artifact(key)
        return files.read_regular(f"{self._artifacts}/{key}/{name}")

    def size_of(self, key: str, name: str) -> int:
        """Return the bytes of a file of an artifact on this machine; an OSError if it has none."""
        path = f"{self._artifacts}/{key}/{name}"  # a Path is slow to make, ten thousand times
        return os.stat(path).st_size  # noqa: PTH116

    def fetch(self, keys: Iterable[str]) -> None:
        """Fetch the artifacts of finished stages that are elsewhere, several at a time.

        Raises:
            StoreError: See :meth:`artifact`.
        """
        if self._url is None:
            return
        wanted = (self.recorded() - self._names("artifacts")).intersection(keys)
        with ThreadPoolExecutor(_FETCHERS) as pool:
            for _ in pool.map(self._fetch, sorted(wanted)):
                pass

    def evict(self, key: str, *, with_record: bool = False) -> bool:
        """Remove from this machine what a storage has; return whether it is fetched again."""
        if self._url is None or is_published(self.folder(key)):  # that is yet to be uploaded
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
                if error.errno not in _TAKEN:  # another process was faster
                    raise

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
        recorded = self.recorded()
        return recorded if self._url is not None else recorded & self._names("artifacts")

    def record(self, key: str) -> Record | None:
        """Return a finished stage's record, or ``None``.

        Raises:
            StoreError: If it cannot be read.
        """
        path = f"{self._records}/{key}.json"  # a Path is slow to make, ten thousand times
        try:
            content = _read_json(path)
            found = _record_of(content) if content is not None else None
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path}: cannot be read as a record ({files.read_failure(error)}): `backbench "
                "run` makes its stage again"
            ) from error
        if found is not None and found.key != key:
            raise StoreError(f"{path}: is the record of {found.key}: remove it and run again")
        return found

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

    def record_bytes(self, key: str) -> bytes:
        """Return a record's file as it is; an OSError if it cannot be read."""
        return files.read_regular(f"{self._records}/{key}.json", MOST_BYTES)

    def readable(self, key: str) -> Record | None:
        """Return a record; ``None`` also where :meth:`failure` returns why it cannot be read."""
        try:
            return self.record(key)
        except StoreError:
            return None

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
        self._clear(key)

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """Give a private folder to write an artifact in; it is removed unless it is published.

        Its time of change is set again and again meanwhile: see :mod:`~backbench.store.leases`.
        """
        folder = self._temporary(key)
        folder.mkdir(parents=True)
        files.share(folder)
        try:
            with leases.touched(folder):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, folder: Path, record: Record) -> Record:
        """Move an artifact with its record into place, then the record to the other records.

        A reader sees the whole of a stage or nothing: the record comes last. Both moves are
        renames. Where processes publish the same stage at the same time, on machines that share
        no locks, the first stays and the others are dropped. A process that is killed between the
        two moves leaves an artifact that holds its record; the next run, or the next process that
        publishes the stage, makes the second move.

        Returns:
            The record in the store: that of another process if it was the first.
        """
        found = self.record(record.key)
        if found is not None and (self._url is not None or self.folder(record.key).is_dir()):
            return found
        what = f"the record of {record.label!r}"
        text = to_json(record.to_json(), what, indent=1) + "\n"  # may fail; nothing has moved yet
        _finish(folder)
        files.write(folder / _RECORD, text)
        for name in ("artifacts", "records"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        found = self._move(folder, record.key)
        with suppress(OSError):  # the stage is done; the next run removes what is left
            self._clear(record.key)
        return found

    def _move(self, folder: Path, key: str) -> Record:
        """Move an artifact into place, unless another is there; return the record of that one.

        Raises:
            StoreError: If something else removes it, or replaces it again and again.
        """
        for _ in range(3):
            try:
                folder.rename(self.folder(key))
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
            if (found := self._complete(key)) is not None:
                return found
            if not folder.exists():
                break
            self._put_aside(key)
        raise StoreError(f"{self.folder(key)}: was removed while it was published: run again")

    def _complete(self, key: str) -> Record | None:
        """Move the record out of an artifact in place; return it, ``None`` if there is none."""
        if self.remote is not None and is_published(self.folder(key)):
            self._upload(self.remote, key)
        path = self.root / "records" / f"{key}.json"
        for _ in files.looks_for(path.parent):
            with suppress(FileNotFoundError, NotADirectoryError):
                (self.folder(key) / _RECORD).rename(path)
            if (found := self.record(key)) is not None:
                return found
        return None

    def _upload(self, remote: Remote, key: str) -> None:
        """Upload an artifact in place, then its record, unless there is one: then drop ours."""
        path = self.folder(key) / _RECORD
        text, name = files.read_regular(path, MOST_BYTES), f"records/{key}.json"
        record = _record_of(_read_json(path) or {})
        remote.push(self.folder(key), record)
        if remote.create(name, text):
            return
        for _, theirs in remote.records([key]):
            if theirs != text:
                aside = self._temporary(key)
                self.folder(key).rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
                files.write(self.root / name, theirs, durable=False)

    def _put_aside(self, key: str) -> None:
        """Take an artifact out of the way of which there is no record: something removed it.

        If it is another one that has just come, it gets its place back.
        """
        final, aside = self.folder(key), self._temporary(key)
        with suppress(FileNotFoundError):
            final.rename(aside)
            if (aside / _RECORD).exists() or self.record(key) is not None:
                with suppress(OSError):  # a third one is in place by now
                    aside.rename(final)
            shutil.rmtree(aside, ignore_errors=True)

    def _temporary(self, key: str) -> Path:
        """Return a path of this process alone, on the file system of the store."""
        return self.root / "tmp" / f"{key}-{files.owned_name()}"

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
            return set(os.listdir(self.root / folder))  # noqa: PTH208 - makes no Path of each
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
            self._clear_leftovers()
            try:
                yield
            finally:
                self._clear_tmp()

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
        for key in {name.removesuffix(".held") for name in self._names("locks")}:
            try:
                with locked(self.root / "locks" / key, BlockingIOError()):
                    pass
            except BlockingIOError:
                found.add(key)
        return found

    def _clear(self, key: str) -> None:
        """Remove what a stage needed until it was done."""
        for name in (f"failures/{key}.json", f"records/{key}{FORGOTTEN}"):
            files.remove(self.root / name)
        forgotten = self.folder(key).with_suffix(FORGOTTEN)
        for path in (forgotten, self.checkpoint(key), self.building(key)):
            files.remove(path)

    def _clear_leftovers(self) -> None:
        """Remove what a run left that was killed while it wrote, or between record and end."""
        self._clear_tmp()
        left = [*self.root.glob(".*.partial")]
        for name in ("records", "failures", "checkpoints", "logs"):
            left += self._held_in(name, ".*")
        for path in left:
            if files.is_abandoned(path.name):
                path.unlink(missing_ok=True)
        for key in self._names("artifacts") - self.recorded():
            if is_published(self.folder(key)):
                self._complete(key)
        done = self.done()
        kept = {"failures": "*", "checkpoints": "*", "building": "*"}
        for name, those in (
            kept | dict.fromkeys(("artifacts", "records"), f"*{FORGOTTEN}")
        ).items():
            for key in done.intersection(path.stem for path in self._held_in(name, those)):
                with suppress(OSError):  # of another user, perhaps
                    self._clear(key)

    def _held_in(self, name: str, pattern: str) -> Iterator[Path]:
        """Yield what a folder of the store holds; what a link to elsewhere holds is not ours."""
        folder = self.root / name
        if not folder.is_symlink():
            yield from folder.glob(pattern)

    def _clear_tmp(self) -> None:
        """Remove temporary files, but those of processes that run, perhaps on other machines."""
        for path in self._held_in("tmp", "*"):
            if files.is_abandoned(path.name):
                with suppress(OSError):
                    files.remove(path)


def is_published(artifact: Path) -> bool:
    """Return whether an artifact holds its record: a run was killed before it moved that."""
    return (artifact / _RECORD).is_file()


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


def _record_of(content: Mapping[str, Any]) -> Record:
    """Return a record; its classes are imported when there is one, which a new store has not."""
    from backbench.store.records import Record

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
