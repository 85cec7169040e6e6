"""The scheduler, with an executor that only pretends."""

from __future__ import annotations

import errno
import signal
from collections import deque

import pytest
from tests.factories import record

from backbench.errors import StageError, UsageError
from backbench.execution.admission import admit_devices
from backbench.execution.scheduler import execute
from backbench.model import Plan, PluginUse, Stage, StageKind
from backbench.plugin import Executor, Finished, Progressed, Setup
from backbench.plugin.events import StageFailed, StageFinished, StageProgress, StageStarted
from backbench.plugin.executor import devices_of
from backbench.store.store import Store


def stage(name, *inputs):
    roles = {f"input{index}": one.key for index, one in enumerate(inputs)}
    return Stage(StageKind.FEATURES, None, None, inputs=roles, content=name, label=name)


#: Two branches on one root; the left one is longer; one leaf reads both.
ROOT = stage("root")
LEFT = stage("left", ROOT)
LEAF = stage("leaf", LEFT)
RIGHT = stage("right", ROOT)
BOTH = stage("both", LEAF, RIGHT)
STAGES = (ROOT, LEFT, LEAF, RIGHT, BOTH)
PLAN = Plan("b", {one.key: one for one in STAGES}, ())


class Fake(Executor):
    """Ends stages in the order of their submission, or the newest first.

    ``failing`` names stages that fail; ``interrupting`` one during which the user presses Ctrl-C.
    """

    def __init__(
        self, store, slots=1, failing=(), *, interrupting="", newest_first=False, full=False
    ):
        super().__init__(None, Setup(store.root))
        self._store = store
        self._slots = slots
        self.failing = set(failing)
        self.interrupting = interrupting
        self.newest_first = newest_first
        self.full = full
        self.running: deque[Stage] = deque()
        self.submitted: list[str] = []
        self.most = 0
        self.closed = 0
        self.reported: set[str] = set()

    @property
    def slots(self):
        return self._slots

    def submit(self, stage):
        assert all(self._store.record(key) for key in stage.inputs.values())
        self.running.append(stage)
        assert sum(self.width(one) for one in self.running) <= self._slots
        self.submitted.append(stage.label)
        self.most = max(self.most, len(self.running))

    def wait(self):
        stage = self.running[-1 if self.newest_first else 0]
        if stage.label == self.interrupting:
            raise KeyboardInterrupt
        if stage.label not in self.reported:
            self.reported.add(stage.label)
            return Progressed(stage.key, 1, 2, {"loss": 0.5})
        self.running.remove(stage)
        if stage.label in self.failing:
            return Finished(stage.key, f"{stage.label} is broken", "Traceback …", full=self.full)
        publish(self._store, stage)
        return Finished(stage.key)

    def close(self):
        self.closed += 1


def publish(store, stage):
    with store.writing(stage.key) as folder:
        store.publish(folder, record(stage.key, stage))


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def run(store, plan=PLAN, **settings):
    executor = Fake(store, **settings)
    events = []
    result = execute(
        plan, store, lambda: executor, lambda hook, event: events.append((hook, event))
    )
    return result, executor, events


def labels(keys):
    return [PLAN.stages[key].label for key in keys]


def test_stages_run_after_their_inputs_in_the_plans_order(store):
    result, executor, events = run(store)
    assert executor.submitted == ["root", "left", "leaf", "right", "both"]
    assert labels(result.executed) == executor.submitted
    assert (result.cached, result.failed, result.skipped) == (0, {}, [])
    assert not result.interrupted
    assert executor.closed == 1
    hooks = [hook for hook, _ in events]
    assert hooks[0] == "run_started"
    assert hooks[-1] == "run_finished"
    assert hooks[1:-1] == ["stage_started", "stage_progress", "stage_finished"] * 5
    assert [type(event) for _, event in events[1:4]] == [StageStarted, StageProgress, StageFinished]
    assert (len(events[0][1].stages), events[0][1].cached, events[0][1].slots) == (5, 0, 1)
    assert (events[2][1].done, events[2][1].total, events[2][1].values) == (1, 2, {"loss": 0.5})
    assert (events[-1][1].executed, events[-1][1].failed, events[-1][1].skipped) == (5, 0, 0)


@pytest.mark.parametrize("newest_first", [False, True])
def test_all_slots_are_used_and_no_more(store, newest_first):
    result, executor, _ = run(store, slots=2, newest_first=newest_first)
    assert executor.most == 2
    assert executor.submitted[:3] == ["root", "left", "right"]
    assert sorted(labels(result.executed)) == sorted(one.label for one in STAGES)


def test_what_is_in_the_store_is_not_run(store):
    publish(store, ROOT)
    publish(store, LEFT)
    result, executor, events = run(store)
    assert executor.submitted == ["leaf", "right", "both"]
    assert result.cached == 2
    assert events[0][1].cached == 2


def test_where_nothing_is_missing_no_executor_is_made(store):
    for one in STAGES:
        publish(store, one)
    result = execute(PLAN, store, pytest.fail, pytest.fail)
    assert (result.executed, result.cached) == ([], 5)


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_a_failure_stops_only_what_depends_on_it(store, slots):
    result, executor, events = run(store, slots=slots, failing=["left"])
    assert labels(result.failed) == ["left"]
    assert result.failed[LEFT.key] == "left is broken"
    assert sorted(labels(result.skipped)) == ["both", "leaf"]
    assert labels(result.executed) == ["root", "right"]
    assert executor.closed == 1
    (failed,) = [event for _, event in events if isinstance(event, StageFailed)]
    assert (failed.stage, failed.reason, failed.details) == (LEFT, "left is broken", "Traceback …")
    assert (events[-1][1].executed, events[-1][1].failed, events[-1][1].skipped) == (2, 1, 2)
    assert store.failure(LEFT.key) == {
        "label": "left",
        "reason": "left is broken",
        "details": "Traceback …",
        "log": "",
    }
    assert store.failure(LEAF.key) is None


class Losing(Fake):
    """Loses the machine of each stage so many times; the last time after it has published."""

    def __init__(self, store, times, *, publishes=False):
        super().__init__(store)
        self.left, self.publishes = {one.label: times for one in STAGES}, publishes

    def wait(self):
        stage = self.running[0]
        if not self.left[stage.label]:
            return super().wait()
        self.left[stage.label] -= 1
        self.running.popleft()
        if self.publishes and not self.left[stage.label]:
            publish(self._store, stage)
        return Finished(stage.key, "its machine was lost", node_lost=True)


@pytest.mark.parametrize("publishes", [False, True])
def test_a_stage_outlives_the_loss_of_five_machines(store, publishes):
    executor = Losing(store, 5 + publishes, publishes=publishes)
    result = execute(PLAN, store, lambda: executor, lambda *_: None)
    assert not result.failed
    assert len(result.executed) == len(set(result.executed)) == len(PLAN.stages)
    assert result.repeated == 5 * len(PLAN.stages)


def test_a_stage_that_loses_six_machines_fails(store):
    executor = Losing(store, 6)
    result = execute(PLAN, store, lambda: executor, lambda *_: None)
    first = next(iter(PLAN.stages))
    assert result.failed[first] == "tried 6 times: its machine was lost"


def test_a_full_disk_stops_the_run_once_and_running_stages_end(store, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "write_failure", refuse)
    result, executor, events = run(store, slots=2, failing=["left"], full=True)
    assert executor.submitted == ["root", "left", "right"]
    assert (labels(result.executed), labels(result.failed)) == (["root", "right"], ["left"])
    assert labels(result.skipped) == ["leaf", "both"]
    assert events[-1][0] == "run_finished"
    result, executor, _ = run(store, failing=["left"], full=True)
    assert (executor.submitted, labels(result.skipped)) == (["left"], ["leaf", "both"])


def test_a_failure_that_cannot_be_written_ends_no_run(store):
    (store.root / "failures").rmdir()
    (store.root / "failures").write_text("in the way")
    result, _, _ = run(store, failing=["left"])
    assert f"left is broken ({store.root / 'failures'}" in result.failed[LEFT.key]
    assert labels(result.executed) == ["root", "right"]


def test_a_failure_of_the_root_skips_everything(store):
    result, _, _ = run(store, failing=["root"])
    assert labels(result.skipped) == ["left", "leaf", "right", "both"]
    assert result.executed == []


def test_a_failed_stage_is_tried_again_by_the_next_run(store):
    run(store, failing=["left", "right"])
    result, executor, _ = run(store)
    assert executor.submitted == ["left", "leaf", "right", "both"]
    assert result.cached == 1
    assert store.failure(LEFT.key) is None


@pytest.fixture
def heard():
    """Let Ctrl-C be heard, which a shell turns off for what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_an_interrupt_keeps_what_is_done(store):
    result, executor, events = run(store, interrupting="leaf")
    assert result.interrupted
    assert labels(result.executed) == ["root", "left"]
    assert (result.failed, result.skipped) == ({}, [])
    assert executor.closed == 1
    assert events[-1][0] == "run_finished"
    assert events[-1][1].interrupted
    again, executor, _ = run(store)
    assert executor.submitted == ["leaf", "right", "both"]
    assert not again.interrupted


@pytest.mark.parametrize("hook", ["run_started", "stage_started"])
def test_the_executor_is_closed_whatever_happens(store, hook):
    executor = Fake(store)

    def emit(name, event):
        if name == hook:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        execute(PLAN, store, lambda: executor, emit)
    assert executor.closed == 1


def test_an_executor_without_slots_does_not_wait_for_ever(tmp_path):
    store = Store(tmp_path / "store")
    store.prepare()
    with pytest.raises(StageError, match="0 slots"):
        execute(PLAN, store, lambda: Fake(store, slots=0), lambda *_: None)


def wide(name, devices, *inputs):
    """A training on several devices."""
    use = PluginUse("ssl-method", "m", "d", 1, {"devices": devices}, {"name": name})
    roles = {f"input{index}": one.key for index, one in enumerate(inputs)}
    return Stage(StageKind.PRETRAIN, use, 0, inputs=roles, label=name)


def run_wide(store, stages, slots, **settings):
    return run(store, Plan("b", {one.key: one for one in stages}, ()), slots=slots, **settings)


def test_a_stage_takes_a_slot_a_device():
    assert devices_of(wide("two", 2)) == 2
    assert devices_of(ROOT) == 1
    executor = Fake(type("store", (), {"root": None}), slots=3)
    assert [executor.width(wide("w", devices)) for devices in (1, 2, 3, 9)] == [1, 2, 3, 3]


def test_a_wide_stage_is_not_overtaken(store):
    """What is behind it in the plan waits with it: else it might wait for ever."""
    stages = [stage("a"), stage("b"), wide("two", 2), stage("c"), stage("d")]
    result, executor, _ = run_wide(store, stages, slots=2, newest_first=True)
    assert executor.submitted == ["a", "b", "two", "c", "d"]
    assert len(result.executed) == 5
    assert executor.most == 2


def test_a_wide_stage_shares_with_what_still_fits(store):
    stages = [wide("two", 2), stage("a"), wide("three", 3), stage("b")]
    result, executor, _ = run_wide(store, stages, slots=3)
    assert executor.submitted == ["two", "a", "three", "b"]
    assert len(result.executed) == 4


def test_a_stage_wider_than_the_executor_takes_it_all(store):
    stages = [stage("a"), wide("nine", 9), stage("b")]
    result, executor, _ = run_wide(store, stages, slots=2)
    assert executor.submitted == ["a", "nine", "b"]
    assert len(result.executed) == 3


def test_what_can_never_run_is_told_before_anything_does(store):
    class Small(Fake):
        def admit(self, stages):
            admit_devices(stages, 2)

    executor, events = Small(store, slots=2), []
    stages = [stage("a"), wide("pretrain m", 3)]
    plan = Plan("b", {one.key: one for one in stages}, ())
    with pytest.raises(UsageError, match=r"pretrain m: devices = 3, and there are 2 GPUs"):
        execute(plan, store, lambda: executor, lambda *event: events.append(event))
    assert (executor.submitted, executor.closed, events) == ([], 1, [])
    admit_devices([wide("fits", 2), ROOT], 2)
    admit_devices([wide("shared", 9)], 0)


@pytest.mark.parametrize("kind", [StageKind.PRETRAIN, StageKind.REPAIR])
def test_fp16_without_a_gpu_is_told_before_anything_runs(kind):
    use = PluginUse("a kind", "m", "d", 1, {"precision": "fp16"}, {})
    training = Stage(kind, use, 0, label="train m")
    with pytest.raises(UsageError, match="train m: precision = 'fp16' needs a GPU"):
        admit_devices([training], 0)
    admit_devices([training], 1)
