"""Stages on an executor; argv: what, executor, nodes, folder, and how many or a benchmark file.

``empty``: so many stages that do next to nothing, in the graph of a real plan. ``quick``: that
profile of a benchmark file. ``nodes`` is the number of Ray nodes of one core each, pinned to it;
with 0 the run starts the cluster of this machine itself, and the executor ``local`` needs none.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from backbench import load
from backbench.execution.scheduler import execute
from backbench.execution.session import Session
from backbench.model import Plan, PluginUse, Stage, StageKind
from backbench.plugin.executor import Executor
from backbench.plugin.registry import load_registry
from backbench.store.store import Store
from benchmarks import synthetic
from benchmarks.worker import serve

#: A dataset of two images of one pixel: a stage that is published as every other.
_PLUGIN: Final = """
import numpy as np
from backbench.images import ArrayImages
from backbench.plugin import Dataset, DatasetInfo, DatasetMetadata, hookimpl

class Empty(Dataset):
    def metadata(self):
        return DatasetMetadata(("ant", "bee"), 2, 2, (1, 1), (1, 1))
    def fingerprint(self, hash_file):
        return "empty"
    def load(self, split, *, verify=True):
        pixels = np.zeros((2, 1, 1, 3), np.uint8)
        return ArrayImages(pixels, np.arange(2), [f"{split}/{i}" for i in range(2)])

@hookimpl
def register_datasets():
    yield DatasetInfo(name="empty", summary="Two pixels.", target="empty_plugin:Empty")
"""

_NODE: Final = {"object_store_memory": 10**8}


def install(folder: Path) -> None:
    """Install the plugin of empty stages for this process and those that it starts."""
    site = folder / "site"
    info = site / "empty-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (site / "empty_plugin.py").write_text(_PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: empty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[backbench]\nempty = empty_plugin\n")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    sys.path.insert(0, str(site))


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """Connect this process to a cluster of so many nodes, and a head that runs no stages."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ |= {"RAY_worker_niceness": "0"}  # Ray's 15 leaves the cores to all else that runs
    made = Cluster(
        initialize_head=True, head_node_args={**_NODE, "num_cpus": 0, "include_dashboard": False}
    )
    for core in range(nodes):
        add_node(made, core)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def add_node(made: Any, core: int) -> Any:
    """Start a node of one core, and all that it runs, on that core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        return made.add_node(num_cpus=1, **_NODE)
    finally:
        os.sched_setaffinity(0, before)


def empty_plan(count: int, folder: Path) -> Plan:
    """Plan a real file, then put an empty stage in the place of each of its first stages."""
    file = folder / "encoders.toml"
    file.write_text(synthetic.benchmark_text(100 * -(-count // 1400)), encoding="utf-8")
    planned = load(file).plan(store=folder / "none").plan.stages
    use = PluginUse("dataset", "empty", "empty", 1, {}, {})
    made: dict[str, Stage] = {}
    for number, (key, stage) in enumerate(islice(planned.items(), count)):
        inputs = {f"input-{at}": made[one].key for at, one in enumerate(stage.inputs.values())}
        made[key] = Stage(StageKind.DATASET, use, number, inputs, "empty", label=stage.label)
    return Plan("empty", {stage.key: stage for stage in made.values()}, ())


def run_empty(executor: str, count: int, folder: Path) -> dict[str, Any]:
    """Plan, run and record empty stages; two stages at a time."""
    store = Store(folder / "store")
    shutil.rmtree(store.root, ignore_errors=True)
    begun = time.perf_counter()
    ends: list[float] = []

    def emit(hook: str, _event: object) -> None:
        if hook == "stage_finished":
            ends.append(time.perf_counter())

    store.prepare()
    plan = empty_plan(count, folder)
    session = Session(load_registry(), store, executor=executor, jobs=2, device="cpu")
    made: Callable[[], Executor] = session.executor_maker()
    cpu = time.process_time()
    result = execute(plan, store, made, emit)
    cpu = time.process_time() - cpu
    seconds = time.perf_counter() - begun
    steady = ends[len(ends) // 10 :]  # the workers have begun by then
    return {
        "units": count,
        "seconds": seconds,
        "each_ms": 1000 * (steady[-1] - steady[0]) / (len(steady) - 1),
        "driver_ms": 1000 * cpu / count,
        "records": len(store.done()),
        "executed": len(result.executed),
    }


def run_quick(executor: str, file: Path, folder: Path) -> dict[str, Any]:
    """Run the profile ``quick`` of a file into an empty store; the hash is of all predictions."""
    shutil.rmtree(folder / "store", ignore_errors=True)
    start = time.perf_counter()
    run = load(file, "quick").run(store=folder / "store", executor=executor, device="cpu")
    seconds = time.perf_counter() - start
    if run.exit_code:
        raise RuntimeError(run.summary)
    return {
        "units": 1,
        "seconds": seconds,
        "stages": len(run.plan.stages),
        "predictions": predictions(run.plan, Store(folder / "store")),
    }


def predictions(plan: Plan, store: Store) -> str:
    """Return the hash of the files of all predictions of a plan."""
    digest = hashlib.sha256()
    for key, stage in sorted(plan.stages.items()):
        if stage.kind is StageKind.PREDICT:
            record = store.record(key)
            assert record is not None
            digest.update(f"{key} {sorted(record.files.items())}\n".encode())
    return digest.hexdigest()


def main() -> None:
    """Serve."""
    what, executor, nodes, folder, size = sys.argv[1:]
    place = Path(folder) / f"{what}-{executor}-{nodes}"
    place.mkdir(parents=True, exist_ok=True)
    install(place)
    if what == "empty":
        timed = partial(run_empty, executor, int(size), place)
    else:
        timed = partial(run_quick, executor, Path(size), place)
    if int(nodes):
        with cluster(int(nodes)):
            serve(lambda: None, lambda _: timed())
    else:
        serve(lambda: None, lambda _: timed())


if __name__ == "__main__":
    main()
