"""The standard streams: stdout belongs to a command alone; none ends it with a traceback."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from typing import Any, Final

from backbench.errors import BackbenchError
from backbench.system.files import occupy_standard_descriptors

#: Signs of our tables, for terminals and files whose encoding lacks them.
_PLAIN = dict(zip("·–—−─×μ§¶†‡°✗▲▼", "-----xuSP+#oX^v", strict=True)) | {
    "…": "..",
    "±": "+-",
    "≥": ">=",
    "≤": "<=",
    "α": "alpha",
}


def prepare_streams() -> None:
    """Make the standard streams of this process take whatever the command writes.

    A closed one is opened to nothing, so that no file of ours gets its number. What an encoding
    lacks is replaced. Where a reader has gone, and where the log is full, the rest is dropped.
    """
    occupy_standard_descriptors()
    codecs.register_error("backbench", _replace)
    for descriptor, name in enumerate(("stdout", "stderr"), 1):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # else a caller's, as of a test
            setattr(sys, name, _stream(descriptor, stream.encoding if stream else "utf-8"))


class _Raw(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if isinstance(error, BrokenPipeError) or self.fileno() != 1:
                return len(data)
            raise BackbenchError(f"standard output: cannot be written ({error.strerror})") from None


def _stream(descriptor: int, encoding: str) -> io.TextIOWrapper:
    raw = _Raw(descriptor, "w", closefd=False)
    lines = descriptor == 2 or raw.isatty()
    buffered = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, encoding, "backbench", line_buffering=lines)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(sign: str) -> str:
    """Return a sign in ASCII: ours by its look, a letter without its accent, else a mark."""
    letter = unicodedata.normalize("NFD", sign)[0]
    return _PLAIN.get(sign) or letter.encode("ascii", "replace").decode()


#: Whether what is printed is sent to stderr already.
_SENT: Final[ContextVar[bool]] = ContextVar("_SENT", default=False)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr what is printed meanwhile, by Python, by a library or by a child process.

    What a command prints on stdout may be JSON, which stays whole whatever a plugin prints. Within
    another such context this does nothing: four system calls are much, ten thousand times.
    """
    if _SENT.get():
        yield
        return
    token = _SENT.set(True)
    with suppress(OSError, ValueError, AttributeError):  # closed, or not there
        sys.stdout.flush()
    try:
        own = os.dup(1)
    except OSError:  # closed when the process began
        own = -1
    try:
        with redirect_stdout(sys.stderr):
            if own >= 0:
                with suppress(OSError):
                    os.dup2(2, 1)
            yield
    finally:
        if own >= 0:
            with suppress(OSError, ValueError, AttributeError):
                sys.__stdout__.flush()  # type: ignore[union-attr]
            os.dup2(own, 1)
            os.close(own)
        _SENT.reset(token)
