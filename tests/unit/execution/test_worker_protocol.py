"""Between the scheduler and its workers: what is said, and what happens when one side dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.unit.conftest import give_cores
from tests.unit.execution.moody import alive, dataset, install, until

from backbench.errors import UsageError
from backbench.execution.local import LocalExecutor
from backbench.execution.messages import decode_order, decode_signal, encode_order, encode_signal
from backbench.execution.scheduler import execute
from backbench.execution.serial import SerialExecutor
from backbench.model import Plan, PluginUse, Stage, StageKind
from backbench.plugin import Finished, Progressed, Setup
from backbench.plugin.events import StageProgress
from backbench.store.store import Store
from backbench.training.devices import Device

pytestmark = pytest.mark.skipif(os.name == "nt", reason="workers talk through inherited pipes")

# -- what is said -----------------------------------------------------------------------------

USE = PluginUse(
    kind="attack",
    name="patch",
    distribution="backbench",
    revision=2,
    options={"target": "bée\n", "rate": {"of": "count", "value": 3.0}, "range": [0.1, 0.9]},
    identity={"target": "bée\n"},
)


@pytest.mark.parametrize(
    "stage",
    [
        Stage(StageKind.POISON, USE, 3, {"dataset": "a" * 32}, "", "poison · «ü»"),
        Stage(StageKind.FEATURES, None, None, {"encoder": "b" * 32, "dataset": "a" * 32}),
        Stage(StageKind.DATASET, USE, None, content="sha256:0"),
    ],
    ids=lambda stage: stage.kind,
)
def test_a_stage_goes_through_a_line(stage):
    others = (Device("cpu", (2, 3)), Device("cuda:1"))
    line = encode_order(stage, others)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    again, devices = decode_order(line)
    assert devices == others
    assert again == stage
    assert again.label == stage.label
    assert again.key == stage.key


@pytest.mark.parametrize(
    "said",
    [
        Progressed("k", 1, 10, {"loss": 0.25}),
        Progressed("k", 0, 0),
        Finished("k"),
        Finished("k", "ValueError: «two\nlines»", "Traceback\n  File …"),
    ],
)
def test_a_signal_goes_through_a_line(said):
    line = encode_signal(said)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert decode_signal(line) == said


def test_a_loss_that_is_not_a_number_goes_through():
    again = decode_signal(encode_signal(Progressed("k", 1, 2, {"loss": float("nan")})))
    assert isinstance(again, Progressed)
    assert np.isnan(again.values["loss"])


# -- what happens -----------------------------------------------------------------------------


@contextmanager
def installed(folder):
    """Install the plugin for this process and its workers."""
    site = install(folder / "site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.syspath_prepend(str(site))
        yield
    sys.modules.pop("moody_plugin", None)


@pytest.fixture
def moody(tmp_path):
    with installed(tmp_path):
        yield


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def depends_on(stage):
    return Stage(
        StageKind.POISON, USE, 0, inputs={"dataset": stage.key}, label=f"after {stage.label}"
    )


def plan(*stages):
    return Plan("b", {stage.key: stage for stage in stages}, ())


def run(store, *stages, kind=LocalExecutor, jobs=1, **limits):
    events = []
    setup = Setup(store.root, "cpu", jobs, **limits)
    result = execute(
        plan(*stages), store, lambda: kind(None, setup), lambda _, event: events.append(event)
    )
    return result, events


NO_SIGNALS = {
    "scribble": "something else than its worker wrote into its pipe",
    "scribble on": "something else than its worker wrote into its pipe",
    "lie of another": "something else than its worker wrote into its pipe",
    "lie": "it ended without a record in the store",
    "close": "it closed its worker's pipe",
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Run stages that all fail, one of them twice, and then one that does not."""
    folder = tmp_path_factory.mktemp("broken")
    store = Store(folder / "store")
    store.prepare()
    failing = [
        dataset(does) for does in ("die", "leave", "raise", "exit", "interrupt", *NO_SIGNALS)
    ]
    with installed(folder):
        result, _ = run(store, *failing, depends_on(failing[0]), dataset("fine"))
    return store, result


def test_a_killed_worker_fails_its_stage_and_the_run_goes_on(broken):
    store, result = broken
    dies, fine = dataset("die"), dataset("fine")
    reason = "tried twice: the worker was killed by SIGKILL (out of memory?) (dataset 'moody'"
    assert result.failed[dies.key].startswith(reason)
    assert result.repeated == 1
    assert result.failed[dies.key].endswith("worker-0.log")
    assert result.skipped == [depends_on(dies).key]
    assert result.executed == [fine.key]
    assert store.done() == {fine.key}
    assert store.failure(dies.key)["reason"] == result.failed[dies.key]


def test_every_other_way_to_end_has_its_reason(broken):
    store, result = broken
    leaves, raises, exits = dataset("leave"), dataset("raise"), dataset("exit")
    assert result.failed[leaves.key].startswith("the worker ended with exit code 7")
    assert result.failed[raises.key].startswith("ValueError: no such image")
    assert "no such image" in store.failure(raises.key)["details"]
    assert result.failed[exits.key].startswith("SystemExit: enough")
    assert result.failed[dataset("interrupt").key].startswith("KeyboardInterrupt (dataset 'moody'")


@pytest.mark.parametrize(("does", "reason"), NO_SIGNALS.items())
def test_what_is_no_signal_ends_the_stage_and_nothing_else(broken, does, reason):
    _, result = broken
    assert result.failed[dataset(does).key].startswith(reason)
    assert len(result.failed) == 5 + len(NO_SIGNALS)
    assert result.executed == [dataset("fine").key]


@pytest.mark.usefixtures("moody")
def test_what_a_plugin_starts_in_a_worker_ends_with_it(store, tmp_path):
    leaves = dataset("leave a child", tmp_path / "child")
    result, _ = run(store, leaves)
    assert result.executed == [leaves.key]
    child = int((tmp_path / "child").read_text())
    until(lambda: not alive(child))


@pytest.mark.usefixtures("moody")
def test_a_lost_worker_costs_one_more_try(store, tmp_path):
    once = dataset("die once", tmp_path / "here")
    result, _ = run(store, once)
    assert result.executed == [once.key]
    assert (result.failed, result.repeated) == ({}, 1)


@pytest.mark.usefixtures("moody")
@pytest.mark.parametrize("kind", [SerialExecutor, LocalExecutor])
def test_a_stage_that_loses_a_process_is_tried_once_more(store, kind):
    loses = dataset("lose a process")
    result, _ = run(store, loses, kind=kind)
    assert result.failed == {loses.key: "tried twice: one of its processes was killed"}


@pytest.mark.usefixtures("moody")
def test_what_the_module_of_a_plugin_sets_is_set_aside_for_every_stage(store, tmp_path):
    first, second = dataset("compute"), dataset("compute", tmp_path / "second")
    result, _ = run(store, first, second)
    assert result.executed == [first.key, second.key]


@pytest.mark.usefixtures("moody")
def test_a_stage_that_leaves_the_current_folder_loses_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(Path("store"))
    store.prepare()
    wanders, fine = dataset("wander"), dataset("fine")
    setup = Setup(store.root.absolute(), "cpu", 1)  # as a session gives it
    made = plan(wanders, fine)
    result = execute(made, store, lambda: SerialExecutor(None, setup), lambda *_: None)
    assert result.executed == [wanders.key, fine.key]
    assert Path.cwd() == tmp_path
    assert store.done() == {wanders.key, fine.key}


@pytest.mark.usefixtures("moody")
def test_a_crash_is_named_and_traced(store):
    crashes = dataset("crash")
    result, _ = run(store, crashes)
    reason = result.failed[crashes.key]
    assert (
        "the worker was killed by SIGSEGV (Segmentation fault) (dataset 'moody' of moody)" in reason
    )
    first, *trace = result.logs[crashes.key].splitlines()
    assert first == "Fatal Python error: Segmentation fault"
    assert trace[0].startswith("Current thread ")
    assert any("moody_plugin.py" in line and "in load" in line for line in trace)
    assert store.failure(crashes.key)["log"] == result.logs[crashes.key]


@pytest.mark.slow
@pytest.mark.usefixtures("moody")
def test_a_stage_that_takes_too_long_is_ended_and_named(store):
    sleeps, holds, fine = dataset("sleep"), dataset("hold the GIL"), dataset("fine")
    result, _ = run(store, sleeps, holds, fine, jobs=2, stage_timeout_s=10)
    for one in (sleeps, holds):
        reason = "it took longer than 10 s (benchmark.stage_timeout_s) (dataset 'moody' of moody); "
        assert result.failed[one.key].startswith(reason)
    assert (result.executed, result.repeated) == ([fine.key], 0)


@pytest.mark.usefixtures("moody")
def test_the_serial_executor_ends_a_stage_that_takes_too_long(store):
    sleeps = dataset("sleep")
    result, _ = run(store, sleeps, kind=SerialExecutor, stage_timeout_s=0.2)
    reason = "it took longer than 0.2 s (benchmark.stage_timeout_s)"
    assert result.failed == {sleeps.key: reason}


@pytest.mark.usefixtures("moody")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no list of processes")
def test_a_stage_that_takes_too_much_memory_is_ended_and_named(store):
    fills = dataset("fill memory")
    result, _ = run(store, fills, stage_memory_gib=0.5)
    assert (
        "GiB of memory, more than 0.5 GiB (benchmark.stage_memory_gib)" in result.failed[fills.key]
    )
    with pytest.raises(UsageError, match="--executor local"):
        run(store, fills, kind=SerialExecutor, stage_memory_gib=0.5)


@pytest.mark.usefixtures("moody")
def test_long_texts_and_logs_are_cut(store):
    shouts, silent, prints = dataset("shout"), dataset("be silent"), dataset("print")
    result, _ = run(store, shouts, silent, prints)
    assert len(result.failed[shouts.key]) < 2_000
    details = store.failure(shouts.key)["details"]
    assert len(details) < 30_000
    assert "characters are left out" in details
    assert result.failed[silent.key].startswith("Silent")
    log = store.log("worker-0")
    assert log.stat().st_size < 20 << 20
    assert log.read_bytes().startswith(b"the first line")
    assert "bytes are left out" in log.read_text()


@pytest.mark.usefixtures("moody")
@pytest.mark.parametrize("kind", [SerialExecutor, LocalExecutor])
def test_a_full_disk_stops_the_run_and_is_named(store, kind):
    full, fine, last = dataset("fill the disk"), dataset("fine"), dataset("sleep")
    result, _ = run(store, full, fine, last, kind=kind)
    reason = f"{store.root}: the disk is full: make room and run again"
    assert result.failed[full.key].startswith(reason)
    assert result.skipped == [fine.key, last.key]
    assert result.executed == []


def test_a_log_that_cannot_be_opened_fails_the_stage(store):
    store.log("worker-0").mkdir(parents=True)
    fine = dataset("fine")
    result, _ = run(store, fine)
    assert result.failed == {
        fine.key: f"{store.log('worker-0')}: cannot be opened (Is a directory)"
    }


@pytest.mark.usefixtures("moody")
def test_what_a_stage_prints_is_no_signal(store):
    chatters = dataset("chatter")
    result, events = run(store, chatters)
    assert result.executed == [chatters.key]
    assert "nonsense" in store.log("worker-0").read_text()
    assert any(isinstance(event, StageProgress) for event in events)


@pytest.mark.usefixtures("moody")
def test_serial_and_local_give_the_same(tmp_path):
    files = []
    for kind in (SerialExecutor, LocalExecutor):
        store = Store(tmp_path / kind.__name__)
        store.prepare()
        fine, raises = dataset("fine"), dataset("raise")
        result, _ = run(store, fine, raises, depends_on(raises), kind=kind)
        assert list(result.failed) == [raises.key]
        assert result.skipped == [depends_on(raises).key]
        files.append(store.record(fine.key).files)
    assert files[0] == files[1]


@pytest.mark.usefixtures("moody")
def test_two_workers_run_side_by_side_and_none_is_left(store, tmp_path):
    devices = [tmp_path / "first", tmp_path / "second"]
    executor = LocalExecutor(None, Setup(store.root, "cpu", 2))
    try:
        assert executor.slots == 2
        for device in devices:
            executor.submit(dataset("sleep", device))
        until(lambda: all(device.exists() and device.read_text() for device in devices))
        pids = [int(device.read_text()) for device in devices]
        assert len(set(pids)) == 2
        assert all(alive(pid) for pid in pids)
        first = executor.wait()
        assert isinstance(first, Progressed)
        assert first.done == 0
    finally:
        executor.close()
    assert not any(alive(pid) for pid in pids)
    assert store.done() == set()


@pytest.mark.usefixtures("moody")
def test_a_worker_serves_many_stages(store, tmp_path):
    stages = [dataset("fine", tmp_path / f"place{number}") for number in range(3)]
    result, _ = run(store, *stages)
    assert len(result.executed) == 3
    assert len({(tmp_path / f"place{number}").read_text() for number in range(3)}) == 1


@pytest.mark.usefixtures("moody")
@pytest.mark.parametrize(
    "does",
    [
        "sleep",
        pytest.param(
            "hold the GIL", marks=pytest.mark.skipif(sys.platform != "linux", reason="prctl")
        ),
    ],
)
def test_no_worker_outlives_a_killed_run(store, tmp_path, does):
    device = tmp_path / "place"
    stage = tmp_path / "stage.json"
    stage.write_text(encode_order(dataset(does, device)))
    code = (
        "import pathlib, sys\n"
        "from backbench.plugin import Setup\n"
        "from backbench.execution.local import LocalExecutor\n"
        "from backbench.execution.messages import decode_order\n"
        "executor = LocalExecutor(None, Setup(pathlib.Path(sys.argv[1]), 'cpu', 1))\n"
        "executor.submit(decode_order(pathlib.Path(sys.argv[2]).read_text())[0])\n"
        "while True: executor.wait()\n"
    )
    run_of_user = subprocess.Popen([sys.executable, "-c", code, str(store.root), str(stage)])
    try:
        until(lambda: device.exists() and device.read_text())
    finally:
        run_of_user.send_signal(signal.SIGKILL)
        run_of_user.wait()
    pid = int(device.read_text())
    until(lambda: not alive(pid), seconds=20)


def test_a_line_that_is_no_stage_ends_the_worker(store):
    stages_out, stages_in = os.pipe()
    signals_out, signals_in = os.pipe()
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "backbench.execution.worker"),
            *(str(os.getpid()), str(stages_out), str(signals_in), str(store.root), "cpu", ""),
        ],
        pass_fds=(stages_out, signals_in),
        stderr=subprocess.PIPE,
    )
    os.close(stages_out)
    os.close(signals_in)
    try:
        os.write(stages_in, b"nonsense\n")
        error = worker.communicate(timeout=60)[1]
        assert worker.returncode == 1
        assert json.JSONDecodeError.__name__.encode() in error
    finally:
        worker.kill()
        os.close(stages_in)
        os.close(signals_out)


def test_at_least_one_stage_runs_at_a_time(store):
    with pytest.raises(UsageError, match="--jobs 0"):
        LocalExecutor(None, Setup(store.root, "cpu", 0))
    with pytest.raises(UsageError, match="--jobs 1000000000: 4096 processes at most"):
        LocalExecutor(None, Setup(store.root, "cpu", 10**9))
    assert LocalExecutor(None, Setup(store.root, "cpu", 3)).slots == 3
    assert SerialExecutor(None, Setup(store.root, "cpu", 3)).slots == 1


def test_a_container_with_a_quota_has_as_many_workers_and_no_core_of_its_own(store, monkeypatch):
    give_cores(monkeypatch, [0, 1, 2, 3], quota=2.0)
    executor = LocalExecutor(None, Setup(store.root, "cpu", None))
    assert executor.slots == 2
    assert executor.rank_devices([0, 1], 2) == [Device("cpu"), Device("cpu")]


def test_processes_of_one_stage_have_slots_of_their_own(store, monkeypatch):
    """Three ranks on four cores in two slots: the third shares the first one's."""
    give_cores(monkeypatch, [0, 1, 2, 3])
    executor = LocalExecutor(None, Setup(store.root, "cpu", 2))
    assert executor.rank_devices([0, 1], 3) == [
        Device("cpu", (0, 1)),
        Device("cpu", (2, 3)),
        Device("cpu", (0, 1)),
    ]


def test_a_data_set_is_decoded_on_all_cores(store, tmp_path, monkeypatch):
    give_cores(monkeypatch, [0, 1, 2, 3])
    executor = LocalExecutor(None, Setup(store.root, "cpu", 2))
    assert executor.lent_devices(dataset("fine", tmp_path), [1]) == [Device("cpu", (0, 1))]
    training = Stage(StageKind.PRETRAIN, PluginUse("ssl-method", "m", "d", 1, {}, {}), 0)
    assert executor.lent_devices(training, [1]) == []


def test_every_rank_has_a_gpu_of_its_own(store, monkeypatch):
    names = ["cuda:0", "cuda:1", "cuda:2"]
    monkeypatch.setattr("backbench.execution.local.device_names", lambda _: names)
    give_cores(monkeypatch, [])
    one_job = LocalExecutor(None, Setup(store.root, "cuda", 1))
    assert [device.device for device in one_job.rank_devices([0], 3)] == names
    crowded = LocalExecutor(None, Setup(store.root, "cuda", 6))  # two stages a GPU
    assert [device.device for device in crowded.rank_devices([1, 4], 2)] == ["cuda:1", "cuda:0"]
    training = Stage(
        StageKind.PRETRAIN, PluginUse("ssl-method", "m", "d", 1, {"devices": 4}, {}), 0
    )
    with pytest.raises(UsageError, match="devices = 4, and there are 3 GPUs"):
        one_job.admit([training])
    LocalExecutor(None, Setup(store.root, "cuda", 3)).admit([dataset("fine")])
