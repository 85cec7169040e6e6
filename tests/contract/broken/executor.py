"""Executors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backbench.execution.scheduler import execute
from backbench.execution.serial import SerialExecutor
from backbench.model import Plan
from backbench.plugin import Executor, ExecutorInfo, Finished, Progressed, Setup
from backbench.store.store import Store
from backbench.testing import ExecutorContract
from backbench.testing.executor import drawn
from tests.contract.broken import broken


class Right(SerialExecutor):
    """It runs stages in this process."""


class Kit(ExecutorContract):
    __test__ = False
    info = ExecutorInfo(name="here", summary="Runs here.", target=f"{__name__}:Right")
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    """Run a plan of two stages."""
    store, stages = Store(folder), {one.key: one for one in (drawn(0), drawn(1))}
    store.prepare()
    setup = Setup(folder, "cpu", 1)
    execute(Plan("b", stages, ()), store, lambda: kit.sample(None, setup), lambda *_: None)


_SLOTS, _END = "test_there_are_slots", "test_stages_end_with_their_records_in_the_store"
_FAIL = "test_a_stage_that_fails_has_its_reason"


@broken(_SLOTS, "has 0 slots: nothing can run")
class NoSlots(Right):
    """It has no slot."""

    slots = 0


@broken(_SLOTS)
class HalfASlot(Right):
    """It has one slot and a half."""

    slots = 1.5


@broken(_SLOTS)
class WiderThanItsSlots(Right):
    """A stage takes more slots than there are."""

    def width(self, stage):
        return 2


@broken(_END, "gave a dict, not a Signal")
class ReturnsADict(Right):
    """It reports the end as a dict."""

    def wait(self):
        signal = super().wait()
        return {"key": signal.key} if isinstance(signal, Finished) else signal


@broken(_END, "reports the stage another, which does not run")
class AnotherKey(Right):
    """It reports the end of a stage that it was not given."""

    def wait(self):
        super().wait()
        return Finished("another")


@broken(_END)
class NeverRuns(Right):
    """It reports the end of a stage that it has not run."""

    def wait(self):
        return Finished(self._waiting.popleft().key)


@broken(_END)
class NeverEnds(Right):
    """It reports progress for ever."""

    def wait(self):
        return Progressed(self._waiting[0].key, 0, 10)


@broken(_END)
class BeyondTheEnd(Right):
    """It reports more steps than there are."""

    def wait(self):
        signal = super().wait()
        return signal if isinstance(signal, Finished) else Progressed(signal.key, 3, 2)


@broken(_FAIL)
class HidesFailures(Right):
    """It reports a stage that failed as done."""

    def wait(self):
        return Finished(self._waiting[0].key) if self._signals else self._run()

    def _run(self):
        while not isinstance(signal := SerialExecutor.wait(self), Finished):
            pass
        return Finished(signal.key)


@broken(_FAIL)
class RaisesAtAFailure(Right):
    """It raises where a stage fails."""

    def wait(self):
        signal = super().wait()
        if isinstance(signal, Finished) and signal.reason:
            raise RuntimeError(signal.reason)
        return signal


@broken("test_target_is_a_class_of_its_kind", "abstract")
class HasNoWait(Executor):
    """It implements no wait."""

    slots = 1

    def submit(self, stage):
        pass
