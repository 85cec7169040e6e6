"""Standard output that belongs to a command alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr what is printed meanwhile, by Python, by a library or by a child process.

    What a command prints on stdout may be JSON, which stays whole whatever a plugin prints.
    """
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
