"""The end of a worker's log, as a failure quotes it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from backbench.errors import printable

#: Bytes of its end in which a failure quotes lines.
TAIL = 8 << 10

#: Lines that are quoted, and their characters.
_LINES, _WIDTH = 15, 300

#: How Python begins to report a crash, and the thread in which it came; others are reported before.
_CRASH, _THREAD = "Fatal Python error", "Current thread"


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
        if crash < 0:
            return printable("\n".join(lines[-_LINES:]))
        first, *trace = lines[crash:]
        own = next((at for at, line in enumerate(trace) if line.startswith(_THREAD)), 0)
        return printable("\n".join([first, *trace[own:]][:_LINES]))
    return ""
