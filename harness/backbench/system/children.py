"""Worker processes for images: they end with their parent, and give results in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import Any, Final, TypeVar

from backbench.system.allocator import keep_memory

#: With fewer images than this, starting processes takes longer than the work.
WORTH_PROCESSES: Final = 200
#: Images that a process takes at a time, and such bundles that wait for each process.
_BUNDLE: Final = 8
_WAITING: Final = 4

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def start_processes(
    count: int, prepare: Callable[..., None], *arguments: Any
) -> ProcessPoolExecutor:
    """Start worker processes; they end when this process does, also if it is killed.

    Args:
        count: How many.
        prepare: Called in each of them first.
        *arguments: What it is called with.
    """
    # Not forked: a copy of a process that has threads may wait for a lock that no thread holds.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, _begin, (prepare, arguments))


def in_order(
    pool: ProcessPoolExecutor,
    processes: int,
    work: Callable[[Sequence[_Job]], Sequence[_Result]],
    jobs: Iterable[_Job],
) -> Iterator[_Result]:
    """Do jobs in the pool; give their results in order; hold few of them in memory.

    Args:
        pool: The processes.
        processes: How many they are.
        work: Maps some jobs to their results, in a worker process.
        jobs: Taken from as results are taken.
    """
    rest = iter(jobs)
    running: deque[Future[Sequence[_Result]]] = deque()
    while True:
        while len(running) < processes * _WAITING and (bundle := list(islice(rest, _BUNDLE))):
            running.append(pool.submit(work, bundle))
        if not running:
            return
        yield from running.popleft().result()


def _begin(prepare: Callable[..., None], arguments: Sequence[Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started it ends it
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    keep_memory()
    prepare(*arguments)


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)  # the parent was killed: the result of this process is not needed
