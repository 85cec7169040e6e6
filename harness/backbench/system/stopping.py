"""Stop this process: soon, on request; or at the end of a command, whatever is left."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NoReturn

_REQUESTED: Final = threading.Event()

#: Seconds that threads and processes of others get to end by themselves at the end of a command.
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


def leave(code: int) -> NoReturn:
    """End this process with an exit code, also if a plugin has left what never ends.

    Python waits for threads, those of pools too, and for child processes of multiprocessing; so
    the command would never end.
    """
    threads, processes = _left_threads(), _left_processes()
    if threads or processes:
        wait = threading.main_thread().join
        if (register := getattr(threading, "_register_atexit", None)) is not None:
            # Python waits for threads of pools before the main thread counts as ended.
            ending = threading.Event()
            register(ending.set)
            wait = ending.wait  # type: ignore[assignment]
        threading.Thread(target=_end, args=(code, wait, threads), daemon=True).start()
    raise SystemExit(code)


def _left_threads() -> list[threading.Thread]:
    main = threading.main_thread()
    return [one for one in threading.enumerate() if not one.daemon and one is not main]


def _left_processes() -> list[Any]:
    """Return the child processes that Python waits for at its end."""
    multiprocessing = sys.modules.get("multiprocessing")
    found = multiprocessing.active_children() if multiprocessing else []
    return [one for one in found if not one.daemon]


def _end(code: int, wait: Callable[[], object], threads: list[threading.Thread]) -> None:
    """End what Python waits for at its end, and what goes on then."""
    wait()
    end = time.monotonic() + GRACE_S
    for one in threads:
        one.join(max(0.0, end - time.monotonic()))
    for process in _left_processes():
        process.join(max(0.0, end - time.monotonic()))
    processes, threads = _left_processes(), [one for one in threads if one.is_alive()]
    for process in processes:
        process.kill()
    for what, left in (("threads", threads), ("processes", processes)):
        if left:
            names = ", ".join(one.name for one in left)
            with suppress(OSError, ValueError, AttributeError):  # closed, or not there
                sys.stderr.write(f"warning: {what} that a plugin has left are ended: {names!a}\n")
    if threads:  # else what trackers send at the exit takes the time that it takes
        os._exit(code)
