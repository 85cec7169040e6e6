"""What no input may bring about: an exception, a write outside, a process, a long or large run."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from click.testing import CliRunner

from backbench.errors import BackbenchError
from tests.crash.faults import changed_by

#: Most seconds of a core, and most memory beyond what is there at the start.
LIMIT_S: Final = 10
LIMIT_BYTES: Final = 1 << 30

_FORBIDDEN: Final = {
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty",
    "socket.connect", "socket.bind", "socket.getaddrinfo",
}  # fmt: skip


class _TooLongError(BaseException):
    """Raised in a run that takes too long."""


class Guard:
    """Runs commands in this process, and watches them.

    Args:
        folder: The only folder in which they may write.

    Attributes:
        codes: How often each exit code came.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self._watching = False
        self._seen: list[str] = []
        self.codes: Counter[int] = Counter()
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(folder / "tmp")
        os.environ |= {"HOME": str(folder), "TMPDIR": tempfile.tempdir, "COLUMNS": "200"}
        signal.signal(signal.SIGPROF, _stop)
        sys.addaudithook(self._announced)

    def limit_memory(self) -> None:
        """Let this process take no more memory than it has and :data:`LIMIT_BYTES`."""
        status = Path("/proc/self/status").read_text(encoding="ascii")
        held = next(line for line in status.splitlines() if line.startswith("VmData:"))
        most = 1024 * int(held.split()[1]) + LIMIT_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))

    def problems(self, work: tuple[str, ...] | Callable[[], object]) -> Iterator[str]:
        """Run a command, or call a function; yield what must not be."""
        self._seen.clear()
        text = ""
        try:
            with _limited(), self._watched():
                code, text = command(work) if isinstance(work, tuple) else _call(work)
            self.codes[code] += 1
        except (Exception, _TooLongError) as error:  # noqa: BLE001 - that is the question
            yield f"{type(error).__name__} at {_where(error)}"
        yield from dict.fromkeys(self._seen)
        raw = {one for one in text if not one.isprintable() and one != "\n"}
        if raw:
            yield f"prints {min(raw)!r}"

    @contextmanager
    def _watched(self) -> Iterator[None]:
        self._watching = True
        try:
            yield
        finally:
            self._watching = False

    def _announced(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event in _FORBIDDEN:
            self._seen.append(f"calls {event}")
        for path in changed_by(event, arguments):
            if not f"{path}/".startswith((f"{self._folder}/", "/proc/self/", "/dev/null/")):
                self._seen.append(f"writes outside: {event} {path}")


def command(arguments: Sequence[str]) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it printed.

    Raises:
        AssertionError: If its exit code is none of 0, 1, 2, 3.
    """
    from backbench.cli.main import main

    sys.argv = ["backbench", *arguments]
    code = 0
    with CliRunner().isolation() as (out, err, _):
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
            assert code in {0, 1, 2, 3}, code
        sys.stdout.flush()
        return code, (out.getvalue() + err.getvalue()).decode()


def _call(work: Callable[[], object]) -> tuple[int, str]:
    try:
        work()
    except BackbenchError as error:
        return error.exit_code, str(error)
    return 0, ""


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _TooLongError


@contextmanager
def _limited() -> Iterator[None]:
    """Stop what takes too many seconds of a core; kill what sleeps for ever."""
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    signal.alarm(30 * LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)


def _where(error: BaseException) -> str:
    """Return the deepest line of ours in a traceback, and the message."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if "/backbench" in one.filename] or frames
    place = f"{ours[-1].filename.rpartition('/backbench')[2]}:{ours[-1].lineno}"
    return f"{place} ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}): {str(error)[:200]!r}"
