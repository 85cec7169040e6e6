"""Signals that stop a command, and a KeyboardInterrupt that is a plugin's own."""

from __future__ import annotations

import atexit
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

#: Signals that do what Ctrl-C does: a scheduler's, and that of a closed terminal.
STOPS: Final = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)

#: Answers that may be replaced; a signal that is ignored, as ``nohup`` has it, stays ignored.
_DEFAULT: Final = (signal.SIG_DFL, signal.default_int_handler)

_HEARD: Final = threading.Event()


@contextmanager
def listening(*stops: signal.Signals) -> Iterator[None]:
    """Hear Ctrl-C meanwhile, and let other signals do what it does.

    Does nothing besides the main thread, where Python hears no signals, and leaves the answers
    that a caller has set, as a notebook has.
    """
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        answers = {number: signal.getsignal(number) for number in (signal.SIGINT, *stops)}
        before = {number: answer for number, answer in answers.items() if answer in _DEFAULT}
    if before:
        _HEARD.clear()
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, answer in before.items():
            signal.signal(number, answer)


@contextmanager
def listening_to_end() -> Iterator[None]:
    """Hear Ctrl-C and what does the same in a command, so that it leaves no part of a file.

    Once it is over, Ctrl-C ends this process without a word.
    """
    if signal.getsignal(signal.SIGINT) in _DEFAULT:
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)  # nothing is left to do
    with listening(*STOPS):
        yield


def is_users(error: BaseException) -> bool:
    """Return whether an error is the user's Ctrl-C, or may be: nothing listened.

    Where Ctrl-C is ignored, as under ``nohup``, it raises nothing.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    return _HEARD.is_set() or signal.getsignal(signal.SIGINT) not in {_interrupt, signal.SIG_IGN}


def _interrupt(*_: object) -> NoReturn:
    _HEARD.set()
    raise KeyboardInterrupt
