"""Remove from a store what killed runs have left half-written."""

from __future__ import annotations

from contextlib import suppress

from backbench.store.publishing import complete
from backbench.store.store_folder import FORGOTTEN, StoreFolder, is_published
from backbench.system import files


def clear_leftovers(store: StoreFolder) -> None:
    """Remove what a run left that was killed while it wrote, or between record and end."""
    clear_tmp(store)
    left = [*store.root.glob(".*.partial")]
    for name in ("records", "failures", "checkpoints", "logs"):
        left += store.held_in(name, ".*")
    for path in left:
        if files.is_abandoned(path.name):
            path.unlink(missing_ok=True)
    for key in store.names("artifacts") - store.recorded():
        if is_published(store.folder(key)):
            complete(store, key)
    done = store.done()
    kept = {"failures": "*", "checkpoints": "*", "building": "*"}
    for name, those in (kept | dict.fromkeys(("artifacts", "records"), f"*{FORGOTTEN}")).items():
        for key in done.intersection(path.stem for path in store.held_in(name, those)):
            with suppress(OSError):  # of another user, perhaps
                store.clear(key)


def clear_tmp(store: StoreFolder) -> None:
    """Remove temporary files, but those of processes that run, perhaps on other machines."""
    for path in store.held_in("tmp", "*"):
        if files.is_abandoned(path.name):
            with suppress(OSError):
                files.remove(path)
