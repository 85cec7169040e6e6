"""What stands in every record: who made it, of what, where, and what it took."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import Bench, tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.model import Plan, StageKind
from backbench.plugin.registry import load_registry
from backbench.stages.run import run_stage
from backbench.store import provenance
from backbench.store.records import Record
from backbench.store.store import Store
from backbench.system import memory
from backbench.system.memory import PeakMemory

#: What every record says, of whatever kind of stage.
ALWAYS = {
    "commit",
    "dirty",
    "libraries",
    "python",
    "platform",
    "processor",
    "cores",
    "device",
    "gpu",
    "threads",
    "threads_of",
    "determinism",
    "environment",
    "plugin",
    "plugin_code",
    "plugins",
    "data",
    "peak_mem_of",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store]:
    folder = tmp_path_factory.mktemp("provenance")
    text = tiny().replace("epochs = 2", "epochs = 1").replace('"none", "distill"', '"distill"')
    text = text.replace('methods = ["moco-v2", "rotnet"]', 'methods = ["rotnet"]')
    (folder / "benchmarks.toml").write_text(text, encoding="utf-8")
    registry = load_registry()
    benchmark = load_benchmark(folder / "benchmarks.toml", registry)
    prints = {name: one.fingerprint(str) for name, one in benchmark.datasets.items()}
    plan, store = make_plan(benchmark, prints), Store(folder / "store")
    store.prepare()
    for stage in plan.stages.values():
        run_stage(stage, store, registry, "cpu", lambda *_: None)
    return plan, store


def records(made: tuple[Plan, Store]) -> list[Record]:
    plan, store = made
    return [record for key in plan.stages if (record := store.record(key))]


def test_every_record_says_it_all(made: tuple[Plan, Store]) -> None:
    plan, _ = made
    (fingerprint,) = {s.content for s in plan.stages.values() if s.kind is StageKind.DATASET}
    found = records(made)
    assert {one.stage.kind for one in found} >= {"dataset", "poison", "repair", "fit", "predict"}
    for one in found:
        said = one.provenance
        assert set(said) == ALWAYS
        assert said["data"] == fingerprint
        assert said["threads"] >= 1
        assert said["peak_mem_of"] in {"stage", "process"}
        assert one.peak_mem_gib > 0
        assert {"backbench", "numpy", "torch", "safetensors"} <= set(said["libraries"])
        reads = {role for role in one.stage.inputs if role not in {"clean", "triggered"}}
        assert set(said["plugins"]) == reads
        assert (said["plugin"] is None) == (one.stage.plugin is None)
    poison = next(one for one in found if one.stage.kind == "poison")
    assert poison.provenance["plugins"]["dataset"].startswith("embedded of backbench ")


def test_torch_says_what_it_does_where_it_is(made: tuple[Plan, Store]) -> None:
    import torch

    pretrain = next(one for one in records(made) if one.stage.kind == "pretrain")
    said = pretrain.provenance
    assert (said["threads"], said["threads_of"]) == (torch.get_num_threads(), "torch")
    assert said["determinism"]["deterministic_algorithms"] is False
    torch.use_deterministic_algorithms(mode=True)
    try:
        assert provenance.collect("cpu")["determinism"]["deterministic_algorithms"] is True
    finally:
        torch.use_deterministic_algorithms(mode=False)


ALONE = """
import sys
from pathlib import Path
from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.plugin.registry import load_registry
from backbench.stages.run import run_stage
from backbench.store.store import Store
registry = load_registry()
benchmark = load_benchmark(Path("b.toml"), registry)
plan = make_plan(benchmark, {name: "content" for name in benchmark.datasets})
store = Store(Path("store"))
store.prepare()
for stage in plan.stages.values():
    if stage.kind in ("dataset", "poison"):
        print(run_stage(stage, store, registry, "cpu", lambda *_: None).key)
assert "torch" not in sys.modules
"""


def test_torch_is_not_imported_to_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b.toml").write_text(tiny(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    store = Store(tmp_path / "store")
    for key in done.stdout.split():
        record = store.record(key)
        assert record is not None
        assert set(record.provenance) == ALWAYS
        assert record.provenance["determinism"] == {}
        assert record.provenance["threads_of"] in {"OMP_NUM_THREADS", "cores"}
        assert record.provenance["data"] == "content"


def test_threads_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    said = provenance.collect("cpu")
    assert (said["threads"], said["threads_of"]) == (3, "OMP_NUM_THREADS")
    assert said["environment"]["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    said = provenance.collect("cpu")
    assert (said["threads"], said["threads_of"]) == (said["cores"], "cores")


def test_the_commit_and_whether_files_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"ls-files": "provenance.py", "rev-parse": "a" * 40, "status": ""}
    monkeypatch.setattr(provenance, "_git", lambda _, *words: answers[words[0]])
    for dirty in ("", " M harness/backbench/store.py"):
        answers["status"] = dirty
        provenance.commit.cache_clear()
        said = provenance.collect("cpu")
        assert (said["commit"], said["dirty"]) == ("a" * 40, bool(dirty))

    def fails(*_: object) -> str:
        raise OSError

    monkeypatch.setattr(provenance, "_git", fails)
    provenance.commit.cache_clear()
    said = provenance.collect("cpu")
    assert (said["commit"], said["dirty"]) == (None, None)
    provenance.commit.cache_clear()


# -- memory ---------------------------------------------------------------------------------------


PEAKS = """
import numpy as np
from backbench.system.memory import PeakMemory

block = np.ones(300 * 2**17)  # 300 MiB: a mapping of its own, given back when it is freed
high = PeakMemory("cpu").gib()
del block
later = PeakMemory("cpu")
assert later.provenance() == {"peak_mem_of": "stage"}
low = later.gib()
assert low < high - 0.25
block = np.ones(100 * 2**17)
assert low + 0.08 < later.gib() < high
"""


@pytest.mark.skipif(not memory.reset_peak(), reason="this system does not start the peak anew")
def test_the_peak_is_the_stages_own() -> None:
    """In a process of its own: others may have told the C library to keep what is freed."""
    subprocess.run([sys.executable, "-c", PEAKS], check=True)


def test_where_the_peak_cannot_start_anew_it_is_the_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "not" / "there")
    peak = PeakMemory("cpu")
    assert peak.provenance() == {"peak_mem_of": "process"}
    assert peak.gib() > 0.01
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "ignored")
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "nothing")
    assert PeakMemory("cpu").provenance() == {"peak_mem_of": "process"}


def test_the_memory_of_a_gpu_is_asked_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    said = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", said.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 3 * 2**29)
    assert PeakMemory("cuda:1").provenance()["peak_gpu_mem_gib"] == 1.5
    assert said == ["cuda:1"]
    assert "peak_gpu_mem_gib" not in PeakMemory("cpu").provenance()


# -- what is shown of it --------------------------------------------------------------------------


def test_show_why_tells_it(made: tuple[Plan, Store], bench: Bench, tmp_path: Path) -> None:
    plan, store = made
    file = store.root.parent / "benchmarks.toml"
    why = ("show", str(file), "--store", str(store.root), "--trace", "evaluator=linear,attack=none")
    out = bench(*why).assert_ok().out
    assert "made of what these gave: dataset embedded of backbench" in out
    assert "data fingerprint: " in out
    assert "torch's switches deterministic_algorithms False" in out.replace(":", "")
    assert "GiB of the stage" in out or "GiB of the process" in out
    bench("export", str(file), "--store", str(store.root), "--out", "o.zip").assert_ok()
    bench("verify", "o.zip").assert_ok()
    with zipfile.ZipFile("o.zip") as bundle:
        environments = json.loads(bundle.read("environment.json"))
    assert len(environments) <= 2  # before torch was imported, and after: not one a stage
    assert sum(one["stages"] for one in environments) == len(plan.stages)
    assert all({"commit", "dirty", "determinism"} <= set(one) for one in environments)
    # a record of an older backbench says less, and is told all the same
    key = plan.cells[0].evaluation
    record = store.record(key)
    assert record is not None
    said = {k: v for k, v in record.provenance.items() if k not in {"dirty", "data", "plugins"}}
    for name in ("determinism", "environment", "threads_of", "peak_mem_of"):
        del said[name]
    older = replace(record, provenance={**said, "threads": None})
    path = store.root / "records" / f"{key}.json"
    before = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(older.to_json()), encoding="utf-8")
    try:
        assert "threads not known" in bench(*why).assert_ok().out
    finally:
        path.write_text(before, encoding="utf-8")
