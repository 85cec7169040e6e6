"""Memory of what files of weights are, so that commands need neither read nor hash them again.

As of hashes of other files, an entry holds while path, inode, size and times stay the same.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from backbench.external.encoder_options import ImportOptions
from backbench.external.imported import Imported
from backbench.external.layouts import REVISION
from backbench.store import MOST_BYTES
from backbench.store.store import Store
from backbench.system import files
from backbench.system.json_text import from_json, to_json

#: File in a store.
_FILE: Final = "encoders.json"

_VERSION: Final = 2
#: A file changed this recently may change again within the same time stamp.
_SETTLED_NS: Final = 2_000_000_000

Opened = tuple[Imported[ImportOptions], list[str]]


class Remembered:
    """Encoders in files, remembered in a store; without one, or before it is there, nothing is."""

    def __init__(self, store: Path | None) -> None:
        there = store is not None and Store(store).exists
        self._path = store / _FILE if store is not None and there else None
        self._known: dict[str, Any] = _read(self._path) if self._path else {}

    def opened(self, path: Path, how: Mapping[str, Any], read: Callable[[], Opened]) -> Opened:
        """Return an encoder and the notes on it, reading the file if it is not known.

        Args:
            path: The file, or the folder of an encoder of ours.
            how: Whatever else decides what is found, as JSON values.
            read: Reads the file.
        """
        state = _state_of(path) if self._path else None
        key = to_json([REVISION, state, how], sort_keys=True) if state else ""
        with contextlib.suppress(KeyError, TypeError, ValueError):
            known = self._known[key]
            options = ImportOptions.model_validate(known["options"])
            return Imported(options, str(known["sha256"])), [str(one) for one in known["notes"]]
        encoder, notes = read()
        if key:
            found = {"options": encoder.options.model_dump(mode="json"), "notes": notes}
            self._known[key] = {**found, "sha256": encoder.sha256}
            self._save()
        return encoder, notes

    def _save(self) -> None:
        """Write what is known, by rename; where that is not allowed, do without."""
        content = to_json({"version": _VERSION, "encoders": self._known})
        with contextlib.suppress(OSError):
            if self._path is not None:
                files.write(self._path, content, durable=False)


def _read(path: Path) -> dict[str, Any]:
    """Return what is remembered; nothing if the file is missing, damaged or of another version."""
    try:
        content = from_json(files.read_regular(path, MOST_BYTES))
        return dict(content["encoders"]) if content["version"] == _VERSION else {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _state_of(path: Path) -> list[str] | None:
    """Return path, inode, size and times of the files that an encoder is read from.

    ``None`` if there is none, or one was changed just now.
    """
    try:
        inner = sorted(path.iterdir()) if path.is_dir() else [path, *path.parent.glob("*.json")]
        states = [(one, one.stat()) for one in inner if one.is_file()]
    except OSError:
        return None
    latest = time.time_ns() - _SETTLED_NS
    if not states or any(state.st_mtime_ns >= latest for _, state in states):
        return None
    return ["|".join(map(str, (one, *files.stamps(state)))) for one, state in states]
