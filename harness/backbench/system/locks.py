"""Locks: a file that one process holds, and a folder that one process writes to."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backbench.errors import DataError
from backbench.system.files import is_abandoned

if TYPE_CHECKING:
    from filelock import BaseFileLock

_LOCK: Final = ".backbench.lock"

#: Errors of a file system that has no locks.
_NO_LOCKS: Final = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


@contextmanager
def locked(path: Path, busy: Exception) -> Iterator[None]:
    """Hold a lock file; raise ``busy`` if another process holds it.

    A process that is killed leaves the file behind, and no lock. Where the file system has no
    locks, the lock is a file that only one process can create.
    """
    from filelock import FileLock, SoftFileLock, Timeout  # late: it imports asyncio

    path.parent.mkdir(parents=True, exist_ok=True)
    lock: BaseFileLock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            held = path.with_name(f"{path.name}.held")
            _warn_of_no_locks(held)
            busy = type(busy)(f"{busy} (if nothing is, remove {held})")
            lock = SoftFileLock(held)
            lock.acquire(timeout=0)
    except Timeout:
        raise busy from None
    try:
        yield
    finally:
        lock.release()


@cache
def _warn_of_no_locks(held: Path) -> None:
    logging.getLogger(__name__).warning(
        "%s: this file system has no locks: the existence of this file is the lock", held
    )


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other callers from writing to a folder meanwhile, and remove what killed ones left.

    Raises:
        DataError: If another process is writing to it.
    """
    with locked(folder / _LOCK, DataError(f"{folder}: another process is writing to it")):
        try:
            for partial in folder.rglob(".*.partial"):
                if is_abandoned(partial.name):  # a store below may be written to
                    partial.unlink(missing_ok=True)
            yield
        finally:
            (folder / _LOCK).unlink(missing_ok=True)
