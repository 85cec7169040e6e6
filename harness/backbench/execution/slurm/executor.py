"""The executor ``slurm``: ready stages are submitted as job arrays, and the queue is watched."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import submitit

from backbench.errors import StageError, UsageError
from backbench.execution.admission import admit_devices
from backbench.execution.logs import last_lines
from backbench.execution.slurm import queue
from backbench.execution.slurm.folders import Submitted, clear, read_signals, submitted
from backbench.execution.slurm.options import SlurmOptions
from backbench.execution.slurm.submission import submit
from backbench.model import Stage
from backbench.plugin.executor import Executor, Finished, Setup, Signal
from backbench.store.store import Store
from backbench.system.json_text import to_json

_LOG = logging.getLogger(__name__)

#: Stages in the queue at a time, where ``--jobs`` does not say.
_JOBS = 100

#: Seconds between two looks at the files of signals, at most.
_LOOK_S = 1.0

#: Seconds that processes of this machine get to end.
_END_S = 10.0

#: State of a job that the queue does not know any more.
_GONE = "GONE"

#: States of jobs that will not begin again by themselves.
_OVER = queue.ENDED | {queue.HELD, _GONE}


@dataclass(slots=True)
class _Job:
    """A stage in the queue.

    ``saved`` is the time of its checkpoint when it was submitted; ``ended`` the signal of a job
    that was stopped or lost, which counts when the job has left the queue.
    """

    stage: Stage
    at: Submitted
    saved: float
    handle: submitit.Job[None] | None
    offset: int = 0
    ended: Finished | None = None
    missed: int = 0
    signals: list[Signal] = field(default_factory=list)


class SlurmExecutor(Executor):
    """Runs each stage as a job.

    A driver that is killed leaves its jobs: the next one takes them over, by their names in the
    queue.
    """

    def __init__(self, options: SlurmOptions, setup: Setup) -> None:
        super().__init__(options, setup)
        if setup.jobs is not None and setup.jobs < 1:
            raise UsageError(f"--jobs {setup.jobs}: at least one stage must run at a time")
        self._options = options
        self._store = Store(setup.store)
        self._jobs: dict[str, _Job] = {}
        self._new: list[Stage] = []
        self._signals: deque[Signal] = deque()
        self._looked = 0.0
        self._silent = False
        self._failed: set[Path] = set()
        self._processes: list[submitit.Job[None]] = []
        self._left = self._jobs_of_others()

    @property
    def slots(self) -> int:
        """Number of jobs in the queue at a time."""
        return self.setup.jobs or _JOBS

    def width(self, stage: Stage) -> int:  # noqa: ARG002 - a job is one, however many devices it has
        """Return one: a stage is a job, and the cluster counts its devices."""
        return 1

    def admit(self, stages: Iterable[Stage]) -> None:
        """Refuse stages that need a GPU where the options request none."""
        for stage in stages:
            admit_devices([stage], sys.maxsize if self._options.resources(stage).gpus else 0)

    def submit(self, stage: Stage) -> None:
        """Remember the stage until :meth:`wait`: those that are ready together become an array."""
        if (at := self._left.pop(stage.key, None)) is not None:
            self._jobs[stage.key] = _Job(stage, at, self._saved(stage.key), None)
        else:
            self._new.append(stage)

    def wait(self) -> Signal:
        """Give the next signal of any job."""
        self._submit_new()
        while not self._signals:
            for job in list(self._jobs.values()):
                self._read(job)
            if not self._signals and time.monotonic() - self._looked >= self._options.poll_s:
                self._look()
            if not self._signals:
                time.sleep(min(_LOOK_S, self._options.poll_s))
        return self._signals.popleft()

    def close(self) -> None:
        """Cancel the jobs that are still in the queue, and remove what is of no interest."""
        for job in self._jobs.values():
            self._failed.add(job.at.folder)
        if self._options.cluster == "local":
            self._end_processes()
        elif self._jobs:
            self._cancel(self._jobs.values())
        self._jobs = {}

    def _cancel(self, jobs: Collection[_Job]) -> None:
        """Cancel jobs that are in the queue."""
        try:
            found = queue.look({job.at.name for job in jobs})
            mine = [found.get((job.at.name, job.at.element)) for job in jobs]
            queue.cancel([one.job for one in mine if one and one.state not in queue.ENDED])
        except StageError as error:
            _LOG.warning("jobs may be left in the queue: %s", error)

    def _end_processes(self) -> None:
        """End the processes of this machine, and wait for those that are about to end."""
        running = {id(job.handle) for job in self._jobs.values()}
        for handle in self._processes:
            if id(handle) in running:
                handle.cancel(check=False)
        deadline = time.monotonic() + _END_S
        while not all(one.done() for one in self._processes) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _jobs_of_others(self) -> dict[str, Submitted]:
        """Return the jobs that an earlier driver has left in the queue, by their stage's key."""
        if self._options.cluster == "local":
            return {}
        known = list(submitted(self._store))
        try:
            states = queue.look({at.name for _, at in known})
        except StageError as error:
            raise UsageError(f"executor slurm: {error}") from error
        left = {}
        for key, at in known:
            found = states.get((at.name, at.element))
            if found is not None and found.state not in queue.ENDED:
                left[key] = at  # one that is held, too: it is cancelled and submitted anew
        return left

    def _submit_new(self) -> None:
        """Submit the stages that are new, those that need the same resources together."""
        groups: dict[str, list[Stage]] = {}
        for stage in self._new:
            groups.setdefault(to_json(self._parameters(stage), sort_keys=True), []).append(stage)
        self._new = []
        for stages in groups.values():
            try:
                found = submit(stages, self._options, self.setup, self._parameters(stages[0]))
            except (StageError, OSError) as error:
                self._signals += [Finished(stage.key, str(error)) for stage in stages]
            else:
                if self._options.cluster == "local":
                    self._processes += [handle for _, handle in found]
                for stage, (at, handle) in zip(stages, found, strict=True):
                    self._jobs[stage.key] = _Job(stage, at, self._saved(stage.key), handle)

    def _parameters(self, stage: Stage) -> dict[str, Any]:
        return self._options.parameters(stage, self.setup.stage_memory_gib)

    def _saved(self, key: str) -> float:
        """Return the time of a stage's checkpoint; 0 without one."""
        with contextlib.suppress(OSError):
            return self._store.checkpoint(key).stat().st_mtime
        return 0.0

    def _read(self, job: _Job) -> None:
        """Take what a job has written; one that was stopped or lost may begin again by itself."""
        try:
            found, job.offset = read_signals(job.at, job.stage.key, job.offset)
        except StageError as error:
            found = [Finished(job.stage.key, str(error))]
        for one in found:
            if not isinstance(one, Finished):
                job.ended = None  # it runs again
                self._signals.append(one)
            elif one.stopped or one.lost:
                job.ended = one
            elif one.reason or self._store.record(one.key) is not None:
                self._finish(job, one)
                return

    def _look(self) -> None:
        """Look at the queue, and end the stages whose jobs have left it."""
        self._looked = time.monotonic()
        try:
            states = self._states()
        except StageError as error:
            if not self._silent:
                _LOG.warning("%s: its jobs are waited for", error)
            self._silent = True
            return
        self._silent = False
        for job in list(self._jobs.values()):
            state = states.get((job.at.name, job.at.element), _GONE)
            if state not in _OVER:
                job.missed = 0
                continue
            job.missed += 1
            if job.missed > 1:  # what it has written is visible by now
                self._read(job)
                if job.stage.key in self._jobs:
                    self._finish(job, self._outcome(job, state))

    def _states(self) -> Mapping[tuple[str, int], str]:
        """Return the states of the jobs, by name and element of the array.

        Raises:
            StageError: If SLURM does not answer.
        """
        jobs = self._jobs.values()
        if self._options.cluster == "local":
            return {
                (job.at.name, job.at.element): "RUNNING"
                for job in jobs
                if job.handle is not None and not job.handle.done()
            }
        found = queue.look({job.at.name for job in jobs})
        return {job: one.state for job, one in found.items()}

    def _outcome(self, job: _Job, state: str) -> Finished:
        """Return how a stage has ended whose job has left the queue without a result."""
        key = job.stage.key
        if self._store.record(key) is not None:
            return Finished(key)
        if state == queue.HELD:
            self._cancel([job])
        if job.ended is not None:
            return job.ended
        advanced = self._saved(key) > job.saved
        return ended_as(state, job, advanced, self._options.resources(job.stage).time_min)

    def _finish(self, job: _Job, ended: Finished) -> None:
        """Give the last signal of a stage; of a submission that is done, remove the folder."""
        del self._jobs[job.stage.key]
        log = job.at.log() if job.handle is None else job.handle.paths.stdout
        if ended.reason and log is not None:
            ended = replace(ended, log=last_lines(log))
            self._failed.add(job.at.folder)
        self._signals.append(ended)
        folders = {one.at.folder for one in self._jobs.values()} | self._failed
        if job.at.folder not in folders:
            clear(job.at)


def ended_as(state: str, job: _Job, advanced: bool, limit_min: int) -> Finished:  # noqa: FBT001
    """Return the end of a stage by the last state of its job, which has left no result.

    ``advanced``: its training has written a checkpoint since it was submitted.
    """
    key, reason = job.stage.key, f"its job {job.at.name} has ended as {state}"
    match state:
        case "TIMEOUT" | "DEADLINE" if not advanced:
            reason = (
                f"it took longer than {limit_min} min, and has no new checkpoint: raise time_min "
                "of the executor, or lower checkpoint_minutes of the method"
            )
            return Finished(key, reason)
        case "OUT_OF_MEMORY":
            return Finished(key, f"{reason}: raise mem_gib of the executor")
        case "TIMEOUT" | "DEADLINE" | "PREEMPTED":
            return Finished(key, reason, stopped=True)
        case "NODE_FAIL" | "BOOT_FAIL" | "REVOKED" | queue.HELD:
            return Finished(key, reason, node_lost=True)
    return Finished(key, reason, lost=True)
