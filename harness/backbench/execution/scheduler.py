"""Run what is missing: hand stages to an executor as their inputs come, and report events."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final

from backbench.errors import ExitCode, PluginError, StageError
from backbench.model import Plan, Stage
from backbench.plugin.events import (
    RunFinished,
    RunStarted,
    StageFailed,
    StageFinished,
    StageProgress,
    StageStarted,
)
from backbench.plugin.executor import Executor, Finished, Progressed, Signal
from backbench.store import provenance
from backbench.store.store import Store
from backbench.system.children import undisturbed
from backbench.system.interrupts import is_users

#: Records of each kind of stage and plugin that are read, at most.
_RECORDS: Final = 8

Emit = Callable[[str, object], None]

#: How often a stage is begun again after its worker was lost, and after its machine was.
_AGAIN: Final = {"worker": 1, "machine": 5}


@dataclass(slots=True)
class Result:
    """Outcome of a run.

    Attributes:
        executed: Keys of the stages that were executed, in the order of their end.
        cached: Number of stages that were in the store.
        failed: Why stages failed, by key.
        logs: The last lines that failed stages have printed, by key.
        repeated: Number of times that a stage was begun again because its worker or machine was
            lost, or because it was stopped at a checkpoint.
        skipped: Keys of the stages that were not tried, since an input failed or a disk is full.
        wall_s: Seconds.
        usage: Whether every failure is the input's problem.
        interrupted: Whether the user stopped the run.
    """

    executed: list[str] = field(default_factory=list)
    cached: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    skipped: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    usage: bool = True
    interrupted: bool = False

    @property
    def summary(self) -> str:
        """Return one line on what was done."""
        again = f", {self.repeated} tried again after a worker was lost or stopped"
        return (
            f"{len(self.executed)} stages executed, {self.cached} were in the store"
            + (again if self.repeated else "")
            + (f", {len(self.failed)} failed" if self.failed else "")
            + (f", {len(self.skipped)} not tried" if self.skipped else "")
            + f" ({self.wall_s:.0f} s)"
        )

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of a command that has done this."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if self.failed:
            return ExitCode.USAGE if self.usage else ExitCode.FAILED
        return ExitCode.OK


def execute(
    plan: Plan,
    store: Store,
    make_executor: Callable[[], Executor],
    emit: Emit,
    notes: Sequence[str] = (),
) -> Result:
    """Execute the stages of a plan that are not in the store.

    A failed stage stops only the stages that depend on it; if a disk is full, no other is begun.
    Without stages to execute, no executor
    is made and no event is emitted.
    """
    started = time.monotonic()
    done = store.done()
    missing = [key for key in plan.stages if key not in done]
    result = Result(cached=len(plan.stages) - len(missing))
    if missing:
        executor = make_executor()
        begun = RunStarted(
            benchmark=plan.benchmark,
            stages=tuple(plan.stages[key] for key in missing),
            cached=result.cached,
            slots=executor.slots,
            notes=tuple(notes),
            cells=plan.cells,
            seen=tuple(_seen(plan, done, store)),
        )
        try:
            executor.admit(begun.stages)
            emit("run_started", begun)
            _Drive(plan, store, executor, emit, result).run(missing, done)
        except KeyboardInterrupt as error:
            if not is_users(error):
                name = type(executor).__name__
                raise PluginError(f"{name} raised KeyboardInterrupt, which is the user's") from None
            result.interrupted = True
        finally:
            with undisturbed():
                executor.close()
    result.wall_s = time.monotonic() - started
    if missing:
        event = RunFinished(
            executed=len(result.executed),
            failed=len(result.failed),
            skipped=len(result.skipped),
            wall_s=result.wall_s,
            interrupted=result.interrupted,
        )
        emit("run_finished", event)
    return result


@dataclass(slots=True)
class _Drive:
    plan: Plan
    store: Store
    executor: Executor
    emit: Emit
    result: Result
    running: dict[str, tuple[Stage, float]] = field(default_factory=dict)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)

    def run(self, waiting: list[str], done: set[str]) -> None:
        """Submit what is ready in the plan's order, wait for one to end, and so on.

        Where the first that is ready does not fit the free slots, nothing behind it is begun: so
        a stage that takes many slots gets its turn.
        """
        queue = Queue(self.plan.stages, waiting, done)
        while queue.left or self.running:
            self._begin(queue)
            if self.running:
                ended = self._wait()
                if not ended.reason:
                    queue.done(ended.key)
                else:
                    self.result.skipped += queue.lost(ended.key)
                if ended.full:
                    self.result.skipped += queue.give_up()
            elif queue.left:
                raise StageError(f"the executor has {self.executor.slots} slots: nothing can run")

    def _begin(self, queue: Queue) -> None:
        """Submit what is ready and fits."""
        free = self.executor.slots - sum(
            self.executor.width(stage) for stage, _ in self.running.values()
        )
        while free > 0 and (key := queue.first()) is not None:
            free -= self.executor.width(self.plan.stages[key])
            if free >= 0:
                queue.take()
                self._submit(key)

    def _submit(self, key: str) -> None:
        stage = self.plan.stages[key]
        self.running[key] = (stage, time.monotonic())
        self.emit("stage_started", StageStarted(stage))
        self.executor.submit(stage)

    def _wait(self) -> Finished:
        """Pass progress on until a stage ends; begin it again if its worker or machine is lost."""
        while not isinstance(signal := self._signal(), Finished) or self._again(signal):
            if not isinstance(signal, Finished):
                stage = self.running[signal.key][0]
                event = StageProgress(stage, signal.done, signal.total, signal.values)
                self.emit("stage_progress", event)
        key = signal.key
        stage, began = self.running.pop(key)
        if not signal.reason:
            self.result.executed.append(key)
            self.emit("stage_finished", StageFinished(stage, time.monotonic() - began))
            return signal
        lost = sum(self.lost[key, what] for what in _AGAIN)
        tries = "tried twice" if lost == 1 else f"tried {lost + 1} times"
        reason = f"{tries}: {signal.reason}" if _is_lost(signal) else signal.reason
        failure = {"label": stage.label, "reason": reason, "details": signal.details}
        try:
            self.store.write_failure(key, failure | {"log": signal.log})
        except OSError as error:
            path = error.filename or self.store.root
            reason += f" ({path}: cannot be written: {error.strerror})"
        self.result.failed[key], self.result.logs[key] = reason, signal.log
        self.result.usage &= signal.usage
        self.emit("stage_failed", StageFailed(stage, reason, signal.details))
        return signal

    def _signal(self) -> Signal:
        """Return the executor's next signal.

        Raises:
            PluginError: If it is none of a stage that runs.
        """
        signal: object = self.executor.wait()
        who = type(self.executor).__name__
        if not isinstance(signal, Progressed | Finished):
            raise PluginError(f"{who}.wait gave a {type(signal).__name__}, not a Signal")
        if signal.key not in self.running:
            raise PluginError(f"{who}.wait reports the stage {signal.key}, which does not run")
        if _is_lost(signal) and self.store.readable(signal.key) is not None:
            return Finished(signal.key)  # it was lost after it had published its result
        return signal

    def _again(self, signal: Finished) -> bool:
        """Begin a stage again that was stopped, or whose worker or machine was lost.

        Returns:
            Whether it was begun.
        """
        if not signal.stopped:
            if not _is_lost(signal):
                return False
            what = "machine" if signal.node_lost else "worker"
            if self.lost[signal.key, what] == _AGAIN[what]:
                return False
            self.lost[signal.key, what] += 1
        self.result.repeated += 1
        self.executor.submit(self.running[signal.key][0])
        return True


def _is_lost(signal: Signal) -> bool:
    return isinstance(signal, Finished) and (signal.lost or signal.node_lost)


def _seen(plan: Plan, done: Collection[str], store: Store) -> Iterator[tuple[Stage, float]]:
    """Yield some stages of each kind and plugin that are done, with their seconds by the records.

    They are those that were made on this processor, from their beginning to their end.
    """
    processor, read = provenance.processor(), Counter[tuple[str, ...]]()
    for key, stage in plan.stages.items():
        sort = (stage.kind.value, *(use.name for use in stage.uses))
        if key not in done or read[sort] == _RECORDS:
            continue
        read[sort] += 1
        record = store.readable(key)
        if record and not record.resumed and record.provenance.get("processor") == processor:
            yield stage, record.wall_s


class Queue:
    """Stages by the order of the plan, each given out when all that it reads is there.

    The end of a stage costs the time of its readers, not of all waiting stages: a run of a plan
    takes time in proportion to its stages.

    Args:
        stages: The plan's stages by key.
        waiting: Keys of the stages to run, each after its inputs.
        done: Keys of the stages in the store.
    """

    def __init__(
        self, stages: Mapping[str, Stage], waiting: Sequence[str], done: Collection[str]
    ) -> None:
        self._keys = tuple(waiting)
        self._readers: dict[str, list[int]] = {}
        self._missing: dict[int, int] = {}
        for at, key in enumerate(self._keys):
            missing = {one for one in stages[key].inputs.values() if one not in done}
            self._missing[at] = len(missing)
            for one in missing:
                self._readers.setdefault(one, []).append(at)
        self._ready = [at for at, count in self._missing.items() if not count]
        heapify(self._ready)

    @property
    def left(self) -> int:
        """Number of stages that have not been taken, and may yet be."""
        return len(self._missing)

    def first(self) -> str | None:
        """Return the first stage that is ready; ``None`` if none is."""
        return self._keys[self._ready[0]] if self._ready else None

    def take(self) -> None:
        """Take the first stage that is ready."""
        del self._missing[heappop(self._ready)]

    def done(self, key: str) -> None:
        """Count a stage as done for the stages that read it."""
        for at in self._readers.pop(key, ()):
            if at in self._missing:
                self._missing[at] -= 1
                if not self._missing[at]:
                    heappush(self._ready, at)

    def give_up(self) -> list[str]:
        """Give up all that have not been taken; return their keys in the plan's order."""
        given_up = sorted(self._missing)
        self._missing.clear()
        self._ready.clear()
        return [self._keys[at] for at in given_up]

    def lost(self, key: str) -> list[str]:
        """Give up all that need a stage that has failed; return their keys in the plan's order."""
        given_up: set[int] = set()
        reading = self._readers.pop(key, [])
        while reading:
            at = reading.pop()
            if at in self._missing:
                del self._missing[at]
                given_up.add(at)
                reading += self._readers.pop(self._keys[at], [])
        return [self._keys[at] for at in sorted(given_up)]
