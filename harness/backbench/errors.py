"""Errors, the exit codes that they end with, and :func:`printable`: what a terminal may be shown.

::

    BackbenchError                exit code 1
    ├── UsageError                2   the user can mend it: a file, an option, a path
    │   ├── ConfigError           2   every problem of a benchmark file at once
    │   ├── PluginError           2   a plugin is broken, unknown or named twice
    │   └── DataError             2   a dataset is missing, unreadable or too small
    ├── StageError                1   a stage failed; the cells that need it have no number
    │   ├── LostProcessError      1   one of its processes was killed: it is tried once more
    │   ├── StoppedError          1   it was asked to stop, and goes on from its checkpoint
    │   └── ResultError           1   what a plugin returned cannot be used
    ├── StoreError                1   the store is damaged or was made by another version
    └── NotReadyError             4   a single stage cannot begin yet; it may later
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """Exit codes of the ``backbench`` command."""

    #: Everything that was requested is there.
    OK = 0
    #: Some stage failed, or the store is damaged.
    FAILED = 1
    #: The input has a problem; nothing was written.
    USAGE = 2
    #: No claim fails, but the numbers that are there do not decide every one.
    UNDECIDED = 3
    #: A single stage cannot begin yet: its input is missing, or another process makes it.
    NOT_READY = 4
    #: Stopped by the user; the store can be continued.
    INTERRUPTED = 130


_ODD = re.compile(r"[^\n -~]")


def printable(text: str) -> str:
    """Return text, perhaps with names from outside, that a terminal shows and does not obey.

    Lines stay lines.
    """
    return _ODD.sub(lambda one: one[0] if one[0].isprintable() else repr(one[0])[1:-1], text)


def message_of(error: BaseException) -> str:
    """Return the message of an error; empty if it has none that can be read.

    An error of a stranger's code may raise whatever it likes when it is printed.
    """
    try:
        return str(error)
    except BaseException:  # noqa: BLE001
        return ""


#: Errors of a disk that has no room, or of a quota that is used up.
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def failure_of(error: MemoryError | OSError) -> str:
    """Return what the system refused, as a sentence: the path, where it is known, and why."""
    if isinstance(error, MemoryError):
        return "memory is full"
    if error.strerror is None:
        return printable(message_of(error))
    remedy = ": make room and run again" if error.errno in FULL else ""
    words = f"{error.strerror.lower()}{remedy}"
    return printable(f"{error.filename}: {words}" if error.filename is not None else words)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 image``, ``1,000 images``."""
    return f"{count:,} {noun}" + ("s" if count != 1 else "")


def shortened(text: str, most: int = 20_000) -> str:
    """Return a text without its middle if it has more than ``most`` characters."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters are left out …\n{text[-half:]}"


_LONGEST_NAME = 255

#: The problem of a text that :func:`is_name` refuses.
NOT_A_NAME = (
    "no name, since it is empty, longer than 255 characters, a step to another folder, or not "
    "printable UTF-8"
)


def is_name(text: object) -> bool:
    """Return whether a value can be a name: printable UTF-8, not long, no step out of a folder."""
    if not isinstance(text, str):
        return False
    return 0 < len(text) <= _LONGEST_NAME and text.isprintable() and text not in {".", ".."}


class BackbenchError(Exception):
    """Base of all errors that end in one clear sentence instead of a traceback."""

    exit_code: ExitCode = ExitCode.FAILED

    def __str__(self) -> str:
        return printable(super().__str__())


class UsageError(BackbenchError):
    """The user can mend it."""

    exit_code = ExitCode.USAGE


class PluginError(UsageError):
    """A plugin is broken, unknown, or one name is claimed twice."""


class DataError(UsageError):
    """A dataset is missing, unreadable or does not fit its use."""


class StageError(BackbenchError):
    """A stage failed."""


class ResultError(StageError):
    """A plugin returned a result that cannot be used."""


class LostProcessError(StageError):
    """A process of a stage was killed by a signal; another try may succeed."""


class StoppedError(StageError):
    """A training has stopped at its checkpoint, as it was asked to; another try resumes there."""


class StoreError(BackbenchError):
    """The store is damaged, or was made by another version of backbench."""


class NotReadyError(BackbenchError):
    """A single stage cannot begin yet: its input is missing, or another process makes it."""

    exit_code = ExitCode.NOT_READY


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem of a benchmark file.

    Args:
        path: TOML path of the problem, ``methods.moco-v2.epochs``.
        message: What is wrong there, and what would be right.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


#: So many problems of a file are shown; the others are counted.
_SHOWN = 100


class ConfigError(UsageError):
    """All the problems, at least one, of one benchmark file, in its order."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{source}: {count} problem{'s' if count > 1 else ''}"
        lines = [head, *(f"  {problem}" for problem in self.problems[:_SHOWN])]
        lines += [f"  … and {count - _SHOWN:,} more"] if count > _SHOWN else []
        super().__init__("\n".join(lines))
