"""A process that publishes stages into a folder as another machine would see it.

The folder has no locks, shows what other processes have made only after a while, and its files
are not made durable, which takes the most time and is not what is tested.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import factories

from backbench.store.store import Store, hash_files

#: Seconds after which another process sees a new file or folder.
DELAY_S = 0.008


def publish(store: Store, key: str, author: str) -> str:
    """Publish a stage whose files name their author; return that of the record in the store."""
    with store.writing(key) as folder:
        (folder / "deep").mkdir()
        for name in ("one", "deep/two"):
            (folder / name).write_text(f"{name} of {key} by {author}")
        made = factories.record(key, files=hash_files(folder), provenance={"author": author})
        return str(store.publish(folder, made).provenance["author"])


def torn(store: Store, key: str) -> bool:
    """Return whether the files of a stage that is done are not those of its record."""
    record = store.record(key)
    return record is not None and hash_files(store.artifact(key)) != record.files


def become_far(root: Path, code: int) -> None:
    """Let this process see a folder as another machine does."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    import fcntl

    fcntl.flock = refuse  # type: ignore[assignment]
    os.fsync = lambda _: None  # type: ignore[assignment]
    own: set[str] = set()
    see, look, rename = os.stat, os.open, os.rename
    shared = tuple(f"{root}/{name}/" for name in ("records", "artifacts"))

    def late(path: Any) -> bool:
        """Return whether a new file, or the folder that it lies in, is not to be seen yet."""
        if not str(path).startswith(shared):
            return False
        top = "/".join(str(path).split("/")[: str(root).count("/") + 3])
        try:
            return top not in own and time.time() - see(top).st_ctime < DELAY_S
        except OSError:
            return False

    def delayed(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: Any, *arguments: Any, **named: Any) -> Any:
            if late(path):
                raise FileNotFoundError(errno.ENOENT, "not seen yet", str(path))
            return function(path, *arguments, **named)

        return wrapped

    def remembered(source: Any, target: Any) -> None:
        rename(source, target)
        own.add(str(target))

    os.stat, os.open, os.rename = delayed(see), delayed(look), remembered


def main(root: str, author: str) -> None:
    """Publish the stages whose keys are read, each at once; print whose files are kept."""
    become_far(Path(root), errno.ENOLCK)
    store = Store(Path(root))
    store.prepare()
    print("ready", flush=True)
    for line in sys.stdin:
        print(publish(store, line.strip(), author), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
