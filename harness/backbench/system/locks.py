"""One process at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from backbench.errors import DataError

_LOCK: Final = ".backbench.lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes that ask the same from writing to a folder meanwhile.

    A process that is killed leaves a file behind, and no lock.

    Args:
        folder: Made if it is not there.

    Raises:
        DataError: If another process is writing to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(f"{folder}: another process is writing to it") from None
    try:
        yield
    finally:
        (folder / _LOCK).unlink(missing_ok=True)
        lock.release()
