"""Location of a store: a folder, or a URL whose records a folder of this machine mirrors."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from backbench.errors import StoreError, UsageError
from backbench.store.remote import Remote
from backbench.store.store import Store
from backbench.store.store_folder import MARKER, REMOTE
from backbench.system import files
from backbench.system.files import PathLike
from backbench.system.json_text import from_json, to_json

#: File with what was known of each record when it was fetched.
_VERSIONS = "remote-versions.json"


def is_url(store: PathLike) -> bool:
    """Return whether a store is named by a URL."""
    return re.match(r"[a-z][a-z0-9+.-]*://", os.fspath(store)) is not None


def open_store(store: PathLike) -> Store:
    """Open a store by its folder or its URL; see :func:`located`."""
    return Store(located(store))


def located(store: PathLike) -> Path:
    """Return the folder of a store: of a URL, a folder of this machine that mirrors its records.

    The folder lies below ``BACKBENCH_CACHE``, by default ``~/.cache/backbench``. Artifacts are
    fetched when they are read, and what is published there is uploaded.

    Raises:
        UsageError: If the URL cannot be used, or the storage cannot be reached.
    """
    if not is_url(store):
        return Path(store)
    remote = Remote(os.fspath(store))
    folder = _folder(remote.url)
    try:
        _mirror(folder, remote)
    except StoreError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder}: cannot be written ({error.strerror}): choose another "
            "folder with BACKBENCH_CACHE"
        ) from error
    return folder


def _folder(url: str) -> Path:
    """Return the folder that mirrors a URL."""
    cache = os.environ.get("BACKBENCH_CACHE")
    if not cache:
        cache = str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "backbench"))
    words = re.sub(r"[^A-Za-z0-9]+", "-", url).strip("-")[-60:]
    name = f"{words}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    return files.from_home(Path(cache)) / "stores" / name


def _mirror(folder: Path, remote: Remote) -> None:
    """Make the records of a folder those of a storage; an artifact whose record changed goes."""
    marker = remote.marker()
    files.write(folder / REMOTE, to_json({"url": remote.url}) + "\n", durable=False)
    if marker is None:
        files.remove(folder / MARKER)
    else:
        files.write(folder / MARKER, marker, durable=False)
    store = Store(folder)
    before = store.recorded()  # looked up first: a run uploads a record before it is here
    versions = {} if marker is None else remote.versions()
    known = _known(folder)
    wanted = [key for key in versions if key not in before or known.get(key) != versions[key]]
    for key in before - versions.keys():
        store.evict(key, with_record=True)
    for key, content in remote.records(wanted):
        if key in before:
            with suppress(OSError):
                if store.record_bytes(key) == content:
                    continue
            store.evict(key, with_record=True)
        files.write(folder / "records" / f"{key}.json", content, durable=False)
    files.write(folder / _VERSIONS, to_json(versions), durable=False)


def _known(folder: Path) -> dict[str, str]:
    """Return the versions of the records that were fetched before."""
    try:
        return dict(from_json((folder / _VERSIONS).read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
