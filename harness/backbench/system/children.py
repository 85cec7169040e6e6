"""Child processes: they end with their parent, also if it is killed."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import Any, Final, NoReturn, TypeVar

from backbench.errors import LostProcessError
from backbench.system.arithmetic import ONE_THREAD
from backbench.system.interrupts import STOPS
from backbench.system.memory import keep_memory

#: With fewer images than this, starting processes takes longer than the work.
WORTH_PROCESSES: Final = 200
#: Images that a process takes at a time, and such bundles that wait for each process.
BUNDLE: Final = 8
WAITING: Final = 4

#: Of Linux: prctl(2).
_PR_SET_PDEATHSIG: Final = 1

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


#: Alike in every process: what is printed, and what a plugin makes of hash("a word").
_ALIKE: Final = {"PYTHONIOENCODING": "utf-8:backslashreplace", "PYTHONHASHSEED": "0"}


def start_module(module: str, *arguments: str, **settings: Any) -> subprocess.Popen[bytes]:
    """Start a module of ours as a process with one thread, in a session of its own.

    Ctrl-C is for the parent. The module calls :func:`end_at_end_of` with a pipe from the parent.
    ``settings`` are those of :class:`subprocess.Popen`.
    """
    # -P: what lies in the user's folder is not importable, as for the command
    return subprocess.Popen(  # noqa: S603 - our own module, our own arguments
        [sys.executable, "-P", "-m", module, *arguments],
        env={**os.environ, **ONE_THREAD, **_ALIKE},
        start_new_session=True,
        **settings,
    )


def begin_child(parent: int) -> None:
    """Be a child process of ours: end with the parent, also while other code holds the GIL.

    A crash of this process leaves a trace on stderr.

    Args:
        parent: Process number of the parent.
    """
    faulthandler.enable()
    keep_memory()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # Linux has it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # it ended before


@contextmanager
def undisturbed() -> Iterator[None]:
    """Do not listen to Ctrl-C and other stops meanwhile, as while children end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python sets signal handlers in the main thread only
        return
    numbers = (signal.SIGINT, *STOPS)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def how_ended(code: int) -> str:
    """Return how a process ended: ``was killed by SIGSEGV (…)``."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        name = f"signal {-code}"
    hint = "out of memory?" if name == "SIGKILL" else signal.strsignal(-code)
    return f"was killed by {name} ({hint})"


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a module of ours, unless it has ended, with what it has started in its session."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end_with_group(code: int) -> NoReturn:
    """End this process, and the processes that plugins have left in the session that it leads."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(code)


def end_at_end_of(descriptor: int) -> None:
    """End this process when its parent closes a pipe, or is killed."""

    def follow() -> None:
        with contextlib.suppress(OSError):
            os.read(descriptor, 1)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def end_all(processes: Sequence[subprocess.Popen[bytes]], grace_s: float) -> None:
    """Wait until processes have ended by themselves, then kill the others after ``grace_s``."""
    deadline = time.monotonic() + grace_s
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill(process)


def start_processes(
    count: int, prepare: Callable[..., None], *arguments: Any
) -> ProcessPoolExecutor:
    """Start worker processes, prepared alike; they end with this process, also if it is killed."""
    # Not forked: a copy of a process that has threads may wait for a lock that no thread holds.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, _begin, (prepare, arguments))


@contextmanager
def workers(
    processes: int, make: Callable[..., Callable[[_Job], _Result]], *arguments: Any
) -> Iterator[Callable[[Iterable[_Job]], Iterator[_Result]]]:
    """Start processes, each with the function that ``make`` returns there.

    What is yielded has jobs done by them, and gives the results in order. If a process is killed, a
    LostProcessError is raised.
    """
    pool = start_processes(processes, _keep, make, arguments)
    try:
        yield lambda jobs: in_order(pool, processes, _do_some, jobs)
    except BrokenProcessPool as error:
        raise LostProcessError("one of its processes was killed (out of memory?)") from error
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(
    pool: ProcessPoolExecutor,
    processes: int,
    work: Callable[[Sequence[_Job]], Sequence[_Result]],
    jobs: Iterable[_Job],
) -> Iterator[_Result]:
    """Do jobs in a pool; yield their results in order; hold few of them in memory."""
    rest = iter(jobs)
    running: deque[Future[Sequence[_Result]]] = deque()
    while True:
        while len(running) < processes * WAITING and (bundle := list(islice(rest, BUNDLE))):
            running.append(pool.submit(work, bundle))
        if not running:
            return
        yield from running.popleft().result()


def _begin(prepare: Callable[..., None], arguments: Sequence[Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started it ends it
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
        begin_child(parent.pid or 0)
    prepare(*arguments)


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)  # the parent was killed: the result of this process is not needed


# -- in a process of its own -------------------------------------------------------------------

_KEPT: Final[list[Callable[[Any], Any]]] = []


def _keep(make: Callable[..., Callable[[Any], Any]], arguments: Sequence[Any]) -> None:
    _KEPT[:] = [make(*arguments)]


def _do_some(jobs: Sequence[Any]) -> list[Any]:
    (work,) = _KEPT
    return list(map(work, jobs))
