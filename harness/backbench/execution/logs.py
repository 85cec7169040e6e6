"""The end of a worker's log, as a failure quotes it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from backbench.errors import printable

#: Bytes of its end in which a failure quotes lines.
TAIL = 8 << 10

#: Lines that are quoted, and their characters; how Python begins to report a crash.
_LINES, _WIDTH, _CRASH = 15, 300, "Fatal Python error"


def size(log: Path) -> int:
    """Return the bytes of a log; 0 if it is not there."""
    return log.stat().st_size if log.exists() else 0


def last_lines(log: Path, since: int = 0) -> str:
    """Return the last lines of a log, or the trace of a crash, from a number of bytes on."""
    length = size(log)
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(length - TAIL, since if since <= length else 0))
        lines = [line[:_WIDTH] for line in file.read().decode(errors="replace").splitlines()]
        crash = max((at for at, line in enumerate(lines) if line.startswith(_CRASH)), default=-1)
        return printable("\n".join(lines[crash:][:_LINES] if crash >= 0 else lines[-_LINES:]))
    return ""
