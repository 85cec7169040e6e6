"""The folders of what was submitted, which later drivers and commands read. No submitit."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from backbench.errors import StageError
from backbench.execution.messages import decode_signal
from backbench.plugin.executor import Finished, Signal
from backbench.store.store import Store
from backbench.system import files
from backbench.system.json_text import from_json

#: File of a submission that names its stages.
KEYS: Final = "stages.json"

#: A longer file of signals, or of keys, is none of ours.
_MOST_BYTES: Final = 1 << 26

#: Seconds without a change after which the jobs of a submission are not waited for.
_GONE_S: Final = 7 * 24 * 3600.0


class Submitted(NamedTuple):
    """A job that was submitted: the folder of its submission, and its element of the array."""

    folder: Path
    element: int

    @property
    def name(self) -> str:
        """Name of the job in the queue."""
        return self.folder.name

    @property
    def signals(self) -> Path:
        """File of its signals."""
        return self.folder / f"{self.element}.signals.jsonl"

    def log(self) -> Path | None:
        """Return the file of what its last try has printed, if there is one."""
        own = [*self.folder.glob(f"*_{self.element}_0_log.out")] or [*self.folder.glob("*_log.out")]
        return max(own, key=lambda path: path.stat().st_mtime, default=None)


def folder_of(store: Store) -> Path:
    """Return the folder of all submissions of a store."""
    return store.root / "logs" / "slurm"


def submitted(store: Store) -> Iterator[tuple[str, Submitted]]:
    """Yield the keys of all stages that were submitted and not cleared away, each with its job."""
    for path in sorted(folder_of(store).glob(f"*/{KEYS}")):
        with contextlib.suppress(OSError, ValueError):
            keys = from_json(files.read_regular(path, _MOST_BYTES))
            yield from ((str(key), Submitted(path.parent, at)) for at, key in enumerate(keys))


def unended(store: Store) -> set[str]:
    """Return the keys of stages whose jobs may run or wait in the queue, by what they have written.

    A submission in which nothing has changed for a week counts as gone: its jobs were cancelled.
    """
    if not (jobs := list(submitted(store))):
        return set()
    now, recorded, found = files.time_in(store.root), store.recorded(), set()
    for key, job in jobs:
        with contextlib.suppress(OSError):  # another driver has just removed it
            changed = max(path.stat().st_mtime for path in (job.folder, *job.folder.iterdir()))
            if key not in recorded and now - changed < _GONE_S and not _has_ended(job, key):
                found.add(key)
    return found


def _has_ended(job: Submitted, key: str) -> bool:
    """Return whether the last signal of a job is the end of its stage."""
    try:
        signals, _ = read_signals(job, key, 0)
    except StageError:  # of something else: nothing is known
        return False
    last = signals[-1] if signals else None
    return isinstance(last, Finished) and not (last.stopped or last.lost)


def clear(job: Submitted) -> None:
    """Remove the folder of a submission of which no job is left, and nothing is of interest."""
    shutil.rmtree(job.folder, ignore_errors=True)


def read_signals(job: Submitted, key: str, offset: int) -> tuple[list[Signal], int]:
    """Read the whole lines that a job has written from an offset on; return the next offset.

    Raises:
        StageError: If something else has written there.
    """
    try:
        with job.signals.open("rb") as file:
            file.seek(offset)
            text = file.read(_MOST_BYTES)
    except OSError:  # the job has not begun, or a network drive is busy
        return [], offset
    whole = text[: text.rfind(b"\n") + 1]
    try:
        found = [decode_signal(line.decode()) for line in whole.splitlines()]
    except ValueError:
        found = None
    if found is None or any(one.key != key for one in found):
        raise StageError(f"something else than its job wrote into {job.signals}")
    return found, offset + len(whole)
