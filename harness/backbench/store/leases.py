"""Folders that are being written, on any machine: their processes touch them again and again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backbench.system import files

#: Seconds between two touches of a folder that is being written, and for how long one counts.
TOUCH_S = 60.0
LEASE_S = 3600.0


@contextmanager
def touched(folder: Path) -> Iterator[None]:
    """Set a folder's time of change every minute, by the clock of its file system."""
    done = threading.Event()

    def touch() -> None:
        while not done.wait(TOUCH_S):
            with suppress(OSError):  # it has just been published
                os.utime(folder)

    threading.Thread(target=touch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def living(root: Path) -> set[str]:
    """Return the keys of the stages that processes are writing into a store, on any machine.

    Such a process touches its temporary folder every minute; for an hour it counts as one that
    lives, by the clock of the file system alone. One of this machine that has ended does not.

    Args:
        root: The store's folder.
    """
    now, found = files.time_in(root), set()
    with suppress(FileNotFoundError, NotADirectoryError):  # nothing was ever written
        for folder in (root / "tmp").iterdir():
            with suppress(OSError):  # it has just been published
                lived = now - folder.stat().st_mtime < LEASE_S
                if lived and not files.is_abandoned(folder.name):
                    found.add(folder.name.partition("-")[0])
    return found
