"""Stop this process: soon, on request; or at the end of a command, whatever threads are left."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Final, NoReturn

_REQUESTED: Final = threading.Event()

#: Seconds that threads of others get to end by themselves at the end of a command.
GRACE_S: Final = 5.0


def request() -> None:
    """Request a stop."""
    _REQUESTED.set()


def requested() -> bool:
    """Return whether a stop was requested."""
    return _REQUESTED.is_set()


def withdraw() -> None:
    """Forget a request."""
    _REQUESTED.clear()


def request_at(*signals: signal.Signals) -> None:
    """Take signals, from now on, as requests."""
    for one in signals:
        signal.signal(one, lambda *_: request())


def quiet_end() -> None:
    """Let Ctrl-C end this process without a word once a command is over: nothing is left to do."""
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)


def leave(code: int) -> NoReturn:
    """End this process with an exit code, also if a plugin has left a thread that never ends.

    Python waits for such threads, and so the command would never end.
    """
    main = threading.main_thread()
    left = [one for one in threading.enumerate() if not one.daemon and one is not main]
    if left:
        threading.Thread(target=_end, args=(code, left), daemon=True).start()
    raise SystemExit(code)


def _end(code: int, left: list[threading.Thread]) -> None:
    """End this process if Python waits for one of the threads, and it goes on."""
    threading.main_thread().join()
    end = time.monotonic() + GRACE_S
    for one in left:
        one.join(max(0.0, end - time.monotonic()))
    names = ", ".join(one.name for one in left if one.is_alive())
    if not names:
        return  # what trackers send at the exit takes the time that it takes
    with suppress(OSError, ValueError, AttributeError):  # closed, or not there
        sys.stderr.write(f"warning: threads that a plugin has left are ended: {names!a}\n")
    os._exit(code)
