"""Stages on a Ray cluster: two nodes of one core, and a head without any."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from backbench import load
from backbench.errors import UsageError
from backbench.execution.installation import difference, installation
from backbench.execution.ray.node import Terms, objection
from backbench.execution.scheduler import execute
from backbench.model import Plan
from backbench.plugin import Progressed, Setup
from backbench.plugin.registry import load_registry
from backbench.store.location import open_store
from backbench.store.store import Store
from backbench.testing import ExecutorContract
from tests.unit.execution.moody import alive, dataset, install, until

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of sockets and old names

NODE = {"num_cpus": 1, "object_store_memory": 10**8}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start a cluster, and connect this process to it; executors find it connected."""
    from ray.cluster_utils import Cluster

    site = install(tmp_path_factory.mktemp("ray") / "site")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness"):
            patch.setenv(name, "0")
        # a node that refuses to answer five times is lost; one that is slow still has its 10 s
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("PYTHONPATH", str(site))
        patch.setenv("BACKBENCH_CACHE", str(site.parent / "nodes"))
        patch.setenv("FSSPEC_FILE_AUTO_MKDIR", "true")
        patch.syspath_prepend(str(site))
        importlib.import_module("moody_plugin")
        patch.setenv("OMP_NUM_THREADS", "1")  # the plugin has set it
        # each of these is a process of its own, and nothing here needs them
        without = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
        made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, **without})
        for _ in range(2):
            made.add_node(wait=False, **NODE)
        made.wait_for_nodes()
        patch.setenv("BACKBENCH_CACHE", str(site.parent / "driver"))
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        ray._private.worker._worker_logs_enabled = False
        yield made
        ray.shutdown()
        made.shutdown()
    sys.modules.pop("moody_plugin", None)


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def executor(store, **settings):
    from backbench.execution.ray.executor import RayExecutor
    from backbench.execution.ray.options import RayOptions

    return RayExecutor(RayOptions(), Setup(store.root, "cpu", **settings))


def run(store, *stages, **settings):
    plan = Plan("b", {stage.key: stage for stage in stages}, ())
    return execute(plan, store, lambda: executor(store, **settings), lambda *_: None)


@pytest.mark.usefixtures("cluster")
class TestRay(ExecutorContract):
    info = load_registry().find("executor", "ray").info


@pytest.mark.usefixtures("cluster")
def test_stages_end_as_under_local(store, tmp_path):
    """One dies and is tried twice, one dies once, one raises; logs and limits are there."""
    dies, once = dataset("die"), dataset("die once", tmp_path / "here")
    raises, sleeps = dataset("raise"), dataset("sleep")
    result = run(store, dies, once, raises, sleeps, stage_timeout_s=6)
    assert result.executed == [once.key]
    assert result.repeated == 2
    assert result.failed[dies.key].startswith("tried twice: the worker was killed by SIGKILL")
    assert "no such image" in result.failed[raises.key]
    assert "it took longer than 6 s" in result.failed[sleeps.key]
    assert list(store.log("").parent.glob("ray-*.log"))


MATRIX = """
[datasets.drawn]
plugin = "embedded"
classes = 2
train_per_class = 16
val_per_class = 4

[methods.moco-v2]
preset = "small"
epochs = 1
batch_size = 16
queue = 32
norm_groups = 2
devices = 2
schedule = { warmup_epochs = 0 }

[evaluators.knn]
k = 1

[[matrix]]
datasets = ["drawn"]
methods = ["moco-v2"]
evaluators = ["knn"]
"""


def test_a_node_that_is_lost_while_it_is_asked_is_passed_over(cluster):
    from backbench.execution.ray.cluster import Cluster, Node

    connected = Cluster(cluster.address, None)
    try:
        connected.check(None, [Node("ab" * 28, "lost", 1, 0, 1.0)])
    finally:
        connected.close()


@pytest.mark.usefixtures("cluster")
def test_a_matrix_has_the_bytes_of_the_serial_executor(tmp_path):
    """Two processes train its encoder, by gloo."""
    file = tmp_path / "benchmarks.toml"
    file.write_text(MATRIX)
    found = []
    for name in ("serial", "ray"):
        done = load(file).run(store=tmp_path / name, executor=name, device="cpu")
        assert done.exit_code == 0
        kept = Store(tmp_path / name)
        found.append({key: kept.record(key).files for key in done.plan.stages})
    assert found[0].keys() == found[1].keys()
    assert found[0] == found[1]


def test_the_store_may_be_a_url(cluster, tmp_path, monkeypatch):
    """The nodes mirror it in a folder of their own."""
    monkeypatch.setitem(fsspec.config.conf, "file", {"auto_mkdir": True})
    bucket = tmp_path / "bucket"
    mirror = open_store(f"file://{bucket}")
    mirror.prepare()
    first = dataset("fine")
    second = replace(first, seed=1, inputs={"before": first.key})
    result = run(mirror, first, second)
    assert result.executed == [first.key, second.key]
    assert mirror.done() == {first.key, second.key}
    assert {path.stem for path in (bucket / "records").iterdir()} == mirror.done()
    assert not mirror.folder(first.key).exists()  # the nodes' folder has it


def raylet_of(cluster, pid):
    """Return the process of a node's own that a worker process descends from."""
    known = {node.all_processes["raylet"][0].process.pid for node in cluster.worker_nodes}
    while pid not in known:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


def test_what_runs_is_ended_with_the_run(cluster, store, tmp_path):
    here = tmp_path / "here"
    made = executor(store)
    try:
        made.admit([dataset("sleep", here)])
        made.submit(dataset("sleep", here))
        assert isinstance(made.wait(), Progressed)
        until(lambda: here.exists() and here.read_text())
        pid = int(here.read_text())
        assert alive(pid)
    finally:
        made.close()
    until(lambda: not alive(pid), seconds=20)
    assert store.done() == set()


def test_a_killed_node_loses_no_stage_and_repeats_no_other(cluster, store, tmp_path):
    here = tmp_path / "here"
    hangs, others = dataset("sleep once", here), [dataset("fine", tmp_path / n) for n in "ab"]
    stages = {stage.key: stage for stage in (hangs, *others)}
    killed = []

    def emit(hook, event):
        if hook == "stage_progress" and event.stage == hangs and not killed:
            until(lambda: here.exists() and here.read_text())
            killed.append(int(here.read_text()))
            os.kill(raylet_of(cluster, killed[0]), signal.SIGKILL)

    result = execute(Plan("b", stages, ()), store, lambda: executor(store), emit)
    assert sorted(result.executed) == sorted(stages)
    assert (result.failed, result.repeated) == ({}, 1)
    assert store.done() == set(stages)
    assert not alive(killed[0])


#: A run of two stages by Ray, in a process of its own: the store, a folder for notes, the address.
DRIVER = """
import sys
from pathlib import Path
from backbench.execution.ray.executor import RayExecutor
from backbench.execution.ray.options import RayOptions
from backbench.execution.scheduler import execute
from backbench.model import Plan
from backbench.plugin import Setup
from backbench.store.store import Store
from tests.unit.execution.moody import dataset

store, notes, options = Path(sys.argv[1]), Path(sys.argv[2]), RayOptions(address=sys.argv[3])
both = dataset("fine", notes / "quick"), dataset("sleep once", notes / "slow")
stages = {stage.key: stage for stage in both}
make = lambda: RayExecutor(options, Setup(store, "cpu"))
execute(Plan("b", stages, ()), Store(store), make, lambda *_: None)
"""


@pytest.mark.slow
def test_a_killed_driver_is_followed_by_another(cluster, store, tmp_path):
    """What is finished stays; what ran ends with its driver, and is made by the next one."""
    quick, slow = dataset("fine", tmp_path / "quick"), dataset("sleep once", tmp_path / "slow")
    pid = tmp_path / "slow"
    command = [sys.executable, "-c", DRIVER, str(store.root), str(tmp_path), cluster.address]
    root = Path(__file__).parents[2]
    log = tmp_path / "driver.log"
    with log.open("w") as said, subprocess.Popen(command, cwd=root, stderr=said) as driver:
        until(lambda: driver.poll() is not None or (pid.exists() and pid.read_text()))
        until(lambda: driver.poll() is not None or store.done() == {quick.key})
        assert driver.poll() is None, log.read_text()
        driver.kill()
    until(lambda: not alive(int(pid.read_text())))
    assert store.done() == {quick.key}
    made, record = (tmp_path / "quick").read_text(), store.record_bytes(quick.key)

    result = run(store, quick, slow)
    assert (result.executed, result.cached, result.repeated) == ([slow.key], 1, 0)
    assert (tmp_path / "quick").read_text() == made
    assert store.record_bytes(quick.key) == record

    other = Store(tmp_path / "other")
    other.prepare()
    plan = Plan("b", {one.key: one for one in (quick, slow)}, ())
    serial = load_registry().find("executor", "serial")
    setup = Setup(other.root, "cpu")
    make = serial.implementation()
    execute(plan, other, lambda: make(serial.info.options(), setup), lambda *_: None)
    for one in (quick, slow):
        assert store.record(one.key).files == other.record(one.key).files


# -- what needs no cluster ---------------------------------------------------------------------


def test_another_installation_is_named(store):
    used = (("evaluator", "knn"), ("dataset", "not-there"))
    here = installation(load_registry(), used)
    assert difference(here, here) == ""
    assert difference(here, {**here, "version of torch": "1.0"}) == (
        f"version of torch is 1.0 there and {here['version of torch']} here"
    )
    assert difference(here, {}).count("missing there") == len(here) - 1  # one is missing here too
    terms = Terms(
        Setup(store.root),
        str(store.root),
        "cpu",
        used,
        {**here, "source of backbench": "0"},
        "tmp/no",
    )
    assert "source of backbench is " in objection(terms)
    assert "there and 0 here: install the same on every node" in objection(terms)


def test_a_device_that_ray_chooses_is_refused(store):
    from backbench.execution.ray.executor import RayExecutor
    from backbench.execution.ray.options import RayOptions

    with pytest.raises(UsageError, match="--device cuda:1: Ray chooses"):
        RayExecutor(RayOptions(), Setup(store.root, "cuda:1"))
