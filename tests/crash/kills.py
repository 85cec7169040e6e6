"""Kills of a run's real processes: the coordinator, a worker, all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from tests.crash import world
from tests.crash.faults import Fault

#: Whom to kill, and when: after so many seconds, or at so many operations of its own.
TARGETS: Final = ("coordinator", "worker", "group")

#: Seconds that processes get to end after their coordinator has died, and a run to its end.
_GRACE_S: Final = 30
_LIMIT_S: Final = 300

_MARK: Final = "BACKBENCH_TEST_RUN"


@dataclass
class Schedule:
    """Kills of one benchmark, one run after the other, until it is whole.

    Args:
        folder: Where the benchmark file is.
        whole: The records of an undisturbed run.
        seed: Of whom to kill, and when.
        most: Number of kills.
    """

    folder: Path
    whole: dict[str, dict[str, object]]
    seed: int
    most: int
    kills: dict[str, int] = field(default_factory=dict)

    def problems(self) -> Iterator[str]:
        """Kill and run again; yield what is wrong; ``kills`` counts those that hit."""
        rng = np.random.default_rng(self.seed)
        store = self.folder / f"kills-{self.seed}"
        done: dict[str, tuple[int, int]] = {}
        for _ in range(self.most):
            target = str(rng.choice(TARGETS))
            by_step = target != "group" and rng.random() < 0.5
            at = int(rng.integers(1, 120)) if by_step else 0
            delay = float(rng.uniform(0, 6))
            fault = Fault(str(store), at, role=target) if by_step else None
            run = Run(self.folder, store, fault, jobs=int(rng.choice((1, 1, 2))))
            hit = run.wait_for_death() if by_step else run.kill(target, delay)
            yield from run.problems()
            if hit:
                self.kills[target] = self.kills.get(target, 0) + 1
            yield from world.torn(store)
            yield from self._done_again(done, store)
            done = world.published(store)
            if len(done) == len(self.whole):
                break
        run = Run(self.folder, store)
        if run.end() != 0:
            yield f"the last run ended with {run.end()}:\n{run.log}"
        yield from run.problems()
        yield from world.differences(store, self.whole)
        yield from self._done_again(done, store)

    def _done_again(self, done: dict[str, tuple[int, int]], store: Path) -> Iterator[str]:
        now = world.published(store)
        for key in sorted(done):
            if done[key] != now.get(key):
                yield f"done again without need: {key}"


class Run:
    """A run in processes of its own.

    Args:
        folder: Where the benchmark file is.
        store: The store.
        fault: What its processes do to themselves.
        jobs: Number of workers.
    """

    def __init__(
        self, folder: Path, store: Path, fault: Fault | None = None, *, jobs: int = 1
    ) -> None:
        self._mark = uuid.uuid4().hex
        self._target = fault.role if fault else ""
        self._log = folder / f"{store.name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "backbench",
                    "run",
                    f"--store={store.name}",
                    f"--jobs={jobs}",
                ],
                cwd=folder,
                env={**os.environ, **(fault.environment() if fault else {}), _MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._killed = False

    @property
    def log(self) -> str:
        """What it printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def end(self) -> int:
        """Wait for the end of the coordinator; return its exit code, 99 if it hangs."""
        try:
            return self._process.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            _kill(self.processes())
            self._process.wait()
            return 99

    def wait_for_death(self) -> bool:
        """Wait until a process has killed itself; say whether one did."""
        code = self.end()
        self._killed = code == -signal.SIGKILL
        return self._killed or "after a worker was lost" in self.log

    def kill(self, target: str, delay_s: float) -> bool:
        """Kill some processes after a while; say whether there were any."""
        try:
            self._process.wait(delay_s)
        except subprocess.TimeoutExpired:
            pass
        else:
            return False
        ours = self.processes()
        workers = [pid for pid, line in ours.items() if "execution.worker" in line]
        if target == "worker":
            chosen = workers[:1]
        else:
            chosen = [self._process.pid] if target == "coordinator" else list(ours)
            self._killed = True
        _kill(chosen)
        self.end()
        return bool(chosen)

    def processes(self) -> dict[int, str]:
        """Return the command lines of this run's living processes."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if f"{_MARK}={self._mark}".encode() in (folder / "environ").read_bytes():
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = line.decode(errors="replace")
            except OSError:  # it has ended, or is another user's
                continue
        return found

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with how it ended: an exit code, a traceback, an orphan."""
        code = self.end()
        if not self._killed and code not in {0, 1}:
            yield f"ended with {code}:\n{self.log}"
        if "Traceback" in self.log:
            yield f"printed a traceback:\n{self.log}"
        deadline = time.monotonic() + _GRACE_S
        while left := self.processes():
            if time.monotonic() > deadline:
                yield f"orphans: {left}"
                _kill(left)
                return
            time.sleep(0.05)


def _kill(processes: Iterable[int]) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
