"""Faults at file operations: at the N-th one that changes a folder, the process dies or fails.

Python announces every operation that changes files to its audit hooks, so the code under test has
no hook of its own, and no operation can be forgotten. Only ``fsync`` is not announced, and is
replaced. What a library writes by its own calls (the weights of safetensors) lies between two
operations that are seen.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

#: Where a process finds its fault, as JSON.
VARIABLE: Final = "BACKBENCH_TEST_FAULT"

#: What happens at the operation: the process is killed; it is killed and the file that was to be
#: made durable loses its second half, as in a power cut; or the system refuses the operation.
ACTS: Final = ("kill", "power", "ENOSPC", "EIO")

#: Announced operations, and the positions of their paths and folder descriptors.
_EVENTS: Final[dict[str, tuple[tuple[int, int | None], ...]]] = {
    "open": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
}
_CHANGES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_KEY: Final = re.compile(r"[0-9a-f]{32}(-[^/]+)?")
_PARTIAL: Final = re.compile(r"\.[0-9a-f]+-[0-9]+-[0-9a-f]+\.partial$")


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Args:
        root: The folder whose changes are counted.
        at: Which of them; 0 for none.
        act: One of :data:`ACTS`; "power" counts only what is made durable.
        trace: File that takes a line for each operation.
        role: "coordinator", "worker", … to fail in; empty for every process.
    """

    root: str
    at: int = 0
    act: str = "kill"
    trace: str = ""
    role: str = ""

    def environment(self) -> dict[str, str]:
        """Return the variables with which a process, and all that it starts, has the fault."""
        tests = Path(__file__).parents[2]
        paths = [str(Path(__file__).with_name("site")), str(tests), os.environ.get("PYTHONPATH")]
        return {
            VARIABLE: json.dumps(asdict(self)),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }


def role() -> str:
    """Say what this process is for, by its command line."""
    line = " ".join(sys.orig_argv)
    names = {"execution.worker": "worker", "training.distributed": "rank", "spawn_main": "builder"}
    return next((name for part, name in names.items() if part in line), "coordinator")


def install_from_environment() -> None:
    """Have the fault that the environment names, if it is for a process like this."""
    if VARIABLE in os.environ:
        install(Fault(**json.loads(os.environ[VARIABLE])))


def install(fault: Fault) -> None:
    """Have a fault in this process, to its end: audit hooks cannot be taken away."""
    if fault.role in {"", role()}:
        steps = _Steps(fault)
        sys.addaudithook(steps.announced)
        os.fsync = steps.fsync


class _Steps:
    """Counts operations, and fails at one of them."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._root = os.path.realpath(fault.root)
        self._count = 0
        self._busy = False  # with an operation of its own
        self._durable: set[int] = set()
        self._sync = os.fsync

    def announced(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take what Python is about to do; raise OSError if it is to fail."""
        if not self._busy and (paths := changed_by(event, arguments)):
            self._step(event.removeprefix("os."), paths)

    def fsync(self, file: Any) -> None:
        """Make a file durable, unless that is to fail."""
        descriptor = file if isinstance(file, int) else file.fileno()
        self._step("fsync", [_opened(descriptor)])
        self._sync(descriptor)
        self._durable.add(os.fstat(descriptor).st_ino)

    def _step(self, what: str, paths: list[str]) -> None:
        below = [path for path in paths if path.startswith(self._root)]
        if not below or (self._fault.act == "power" and what != "fsync"):
            return
        self._count += 1
        if self._fault.trace:
            self._busy = True
            with Path(self._fault.trace).open("a", encoding="utf-8") as file:
                file.write(name_of(what, [path[len(self._root) :] for path in below]) + "\n")
            self._busy = False
        if self._count == self._fault.at:
            self._fail(Path(below[0]))

    def _fail(self, path: Path) -> NoReturn:
        if self._fault.act == "power" and path.stat().st_ino not in self._durable:
            self._busy = True
            os.truncate(path, path.stat().st_size // 2)
        if self._fault.act in {"kill", "power"}:
            os.kill(os.getpid(), signal.SIGKILL)
        code = getattr(errno, self._fault.act)
        raise OSError(code, os.strerror(code), str(path))


def name_of(what: str, paths: list[str]) -> str:
    """Name an operation without what differs from run to run: keys, numbers of processes."""
    names = (_KEY.sub("KEY", _PARTIAL.sub("PARTIAL", path.strip("/"))) for path in paths)
    return f"{what} " + " -> ".join(names)


def changed_by(event: str, arguments: tuple[Any, ...]) -> list[str]:
    """Return what an announced operation changes; nothing if it only reads."""
    if event not in _EVENTS or (event == "open" and not arguments[2] & _CHANGES):
        return []
    return [_path(arguments, *where) for where in _EVENTS[event]]


def _path(arguments: tuple[Any, ...], at: int, folder: int | None) -> str:
    """Return the whole path of an operation."""
    path = arguments[at]
    if isinstance(path, int):
        return _opened(path)
    descriptor = arguments[folder] if folder is not None and len(arguments) > folder else None
    base = Path.cwd() if descriptor in {None, -1} else Path(_opened(descriptor))
    # not resolved: a link in the folder would lead elsewhere
    return os.path.normpath(base / os.fsdecode(path))


def _opened(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())
