"""A worker process as the process that started it sees it: stages in, signals out, limits kept."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from backbench.execution.logs import TAIL, last_lines, size
from backbench.execution.messages import decode_signal, encode_order
from backbench.model import Stage, StageKind
from backbench.plugin.executor import Finished, Setup, Signal
from backbench.store.store import Store
from backbench.system.children import end_all, how_ended, kill, start_module
from backbench.system.memory import tree_gib
from backbench.training.devices import Device

#: Seconds that a worker gets to end by itself, and between two looks at its limits.
GRACE_S: Final = 2.0
LOOK_S: Final = 1.0

#: Bytes of the longest signal, and of a worker's log.
_LONGEST, _LOG = 4 << 20, 16 << 20


class WorkerProcess:
    """A process that runs one stage at a time, and lives until it is closed.

    Args:
        setup: Where the store is, and the limits of a stage.
        device: The device of its stages, and the cores that it is pinned to.
        log: The file that takes what it prints.

    Attributes:
        log: The file that takes what it prints.
        process: The process.
        orders: The descriptor that stages are written to; the process ends when it is closed.
        pipe: The descriptor that is readable when the process has something to report.

    Raises:
        OSError: If it cannot be started.
    """

    def __init__(self, setup: Setup, device: Device, log: Path) -> None:
        self.log = log
        self._setup, self._store = setup, Store(setup.store)
        self._stage: Stage | None = None
        self._began, self._printed = 0.0, 0
        self._buffer = bytearray()
        self._signals: list[Signal] = []
        with log.open("ab") as output, contextlib.ExitStack() as undo:
            child_in, self.orders = os.pipe()
            self.pipe, child_out = os.pipe()
            for descriptor in (self.orders, self.pipe):
                undo.callback(os.close, descriptor)
            try:
                self.process = start_module(
                    "backbench.execution.worker",
                    str(os.getpid()),
                    str(child_in),
                    str(child_out),
                    str(setup.store),
                    device.device,
                    ",".join(map(str, device.cores)),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(child_in, child_out),
                )
            finally:
                os.close(child_in)
                os.close(child_out)
            undo.pop_all()

    @property
    def alive(self) -> bool:
        """Return whether the process runs, so that it can take a stage."""
        return self.process.poll() is None

    def submit(self, stage: Stage, others: Sequence[Device]) -> None:
        """Begin a stage; ``others`` are where its further processes run."""
        self._stage, self._began, self._printed = stage, time.monotonic(), size(self.log)
        with contextlib.suppress(BrokenPipeError):  # it has died; reading reports how
            os.write(self.orders, encode_order(stage, others).encode())

    def signal(self) -> Signal | None:
        """Return the next signal that was read; a :class:`Finished` is a stage's last."""
        if not self._signals:
            return None
        found = self._signals.pop(0)
        if isinstance(found, Finished):
            self._stage = None
            log = last_lines(self.log, self._printed) if found.reason else ""
            found = replace(found, log=log)
        return found

    def read(self) -> None:
        """Take what it has sent; where it is gone, or sends no signals, its stage is over.

        Blocks until :attr:`pipe` is readable.
        """
        chunk = os.read(self.pipe, 1 << 16)
        if not chunk:
            try:
                code = self.process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._over("it closed its worker's pipe")
            else:
                self._over(f"the worker {how_ended(code)}", lost=code < 0)
            return
        self._buffer += chunk
        if b"\n" not in chunk and len(self._buffer) < _LONGEST:
            return
        *lines, self._buffer = self._buffer.split(b"\n")
        try:
            found = [decode_signal(line.decode()) for line in lines]
        except ValueError:
            found = None
        key = self._running.key
        if found is None or len(self._buffer) >= _LONGEST or any(one.key != key for one in found):
            self._over("something else than its worker wrote into its pipe")
            return
        for one in found:
            if isinstance(one, Finished) and not one.reason and self._store.record(one.key) is None:
                self._over("it ended without a record in the store")
            else:
                self._signals.append(one)

    def look(self) -> None:
        """Keep the log short, and end a stage that has reached a limit."""
        with contextlib.suppress(OSError):  # a full disk
            _shorten(self.log)
        seconds, gib = self._setup.stage_timeout_s, self._setup.stage_memory_gib
        if self._signals:
            return
        if seconds is not None and time.monotonic() - self._began > seconds:
            self._over(f"it took longer than {seconds:g} s (benchmark.stage_timeout_s)")
        elif gib is not None and (taken := tree_gib(self.process.pid)) > gib:
            limit = f"more than {gib:g} GiB (benchmark.stage_memory_gib)"
            self._over(f"it took {taken:.3g} GiB of memory, {limit}")

    @property
    def _running(self) -> Stage:
        assert self._stage is not None  # noqa: S101 - only a busy worker is read
        return self._stage

    def _over(self, reason: str, *, lost: bool = False) -> None:
        """End the process, and its stage with it."""
        kill(self.process)
        stage = self._running
        uses = stage.uses if stage.kind is not StageKind.IMPORT else ()
        whose = "".join(f" ({use.kind} {use.name!r} of {use.distribution})" for use in uses)
        reason = f"{reason}{whose}; see {self.log}"
        self._signals.append(Finished(stage.key, reason, lost=lost))


def close_all(workers: Sequence[WorkerProcess]) -> None:
    """End worker processes, all at the same time."""
    for worker in workers:
        os.close(worker.orders)
    end_all([worker.process for worker in workers], GRACE_S)
    for worker in workers:
        os.close(worker.pipe)


def _shorten(log: Path) -> None:
    """Cut the middle out of a log that has become long; a worker appends to it meanwhile."""
    length = size(log)
    if length <= _LOG:
        return
    with log.open("r+b") as file:
        file.seek(-TAIL, os.SEEK_END)
        end = file.read()
        file.truncate(_LOG // 2)
        file.seek(0, os.SEEK_END)
        file.write(f"\n… {length - _LOG // 2 - len(end):,} bytes are left out …\n".encode() + end)
