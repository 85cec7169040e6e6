"""A request that this process stops soon: a training then writes its checkpoint and ends."""

from __future__ import annotations

import signal
import threading
from typing import Final

_REQUESTED: Final = threading.Event()


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
