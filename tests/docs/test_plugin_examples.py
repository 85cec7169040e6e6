"""The examples in the docstrings of hooks and base classes, pasted into one plugin and run.

All of them together are one distribution, ``my-plugin``. A tiny benchmark with its dataset,
attack, method, defenses and evaluators runs on its executor.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from backbench import plugin
from backbench.cli.root import cli
from backbench.data.packed import HEADER_BYTES, open_changed_images
from backbench.model import Stage, StageKind
from backbench.plugin.infos import KINDS
from backbench.plugin.registry import Registry, load_registry
from backbench.poison.manifest import pixel_hash, read_manifest
from backbench.stages.inputs import TRIGGERED
from backbench.store.metadata import TriggerRecord
from backbench.store.store import Store
from backbench.system.arithmetic import standard_arithmetic
from backbench.testing import (
    AttackContract,
    BackboneContract,
    ColumnContract,
    CommandContract,
    DatasetContract,
    DefenseContract,
    EncoderAttackContract,
    EvaluatorContract,
    ExecutorContract,
    ImageEvaluatorContract,
    InputDefenseContract,
    LearningAttackContract,
    MetricContract,
    ModelDefenseContract,
    NamedObserverContract,
    ObserverContract,
    SSLMethodContract,
    TrainingDefenseContract,
)
from tests.contract.broken import run

BASES = [
    plugin.Dataset,
    plugin.Attack,
    plugin.BackboneNetwork,
    plugin.SSLMethod,
    plugin.Defense,
    plugin.Evaluator,
    plugin.ImageEvaluator,
    plugin.Executor,
    plugin.Observer,
]
EVENTS = [
    plugin.RunStarted,
    plugin.StageStarted,
    plugin.StageProgress,
    plugin.StageFinished,
    plugin.StageFailed,
    plugin.RunFinished,
    plugin.ResultsReady,
]

BENCHMARK = """
[benchmark]
name = "examples"
seeds = [0]

[datasets.stripes]
images = 24

[attacks.corner]
target = "down"

[attacks.pull]
target = "down"

[attacks.negative]
target = "down"

[methods.my-simclr]
epochs = 1
batch_size = 16
schedule = { warmup_epochs = 0 }
backbone = { name = "mixer", arguments = { width = 8 } }

[observers.journal]
path = "JOURNAL"

[[matrix]]
datasets = ["stripes"]
attacks = ["none", "corner", "pull", "negative"]
methods = ["my-simclr"]
defenses = ["none", "prune", "outliers", "far", "spread", "shuffle+prune"]
evaluators = ["centroids", "exact-nearest"]
exclude = [{ attacks = "pull", defenses = "outliers" }]
"""


def hooks() -> dict[str, str]:
    """Return the docstring of each hook."""
    found = inspect.getmembers(plugin.BackbenchHooks, inspect.isfunction)
    return {name: inspect.getdoc(hook) or "" for name, hook in found}


def files(docstring: str) -> dict[str, str]:
    """Return the files of a docstring's example; the first line of each is its name."""
    _, _, example = docstring.partition("Example::\n")
    text = inspect.cleandoc(example)
    parts = re.split(r"^# (my_plugin/\w+\.py)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def pasted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install the plugin; return the folder that holds it."""
    folder = tmp_path_factory.mktemp("examples")
    texts: dict[str, str] = defaultdict(str)
    for docstring in [*hooks().values(), *(inspect.getdoc(base) or "" for base in BASES)]:
        for name, text in files(docstring).items():
            texts[name] += text + "\n"
    (folder / "my_plugin").mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    info = folder / "my_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[backbench]\nmy-plugin = my_plugin\n")
    benchmark = BENCHMARK.replace("JOURNAL", str(folder / "journal.csv"))
    (folder / "benchmarks.toml").write_text(benchmark, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_plugin"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def registry(pasted: Path) -> Registry:
    """Return what is found when the plugin is installed."""
    return load_registry()


def backbench(*arguments: str) -> str:
    """Run a command in this process; return what it prints."""
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def lines(pasted: Path) -> Iterator[list[str]]:
    """Run the benchmark on the plugin's executor; return what its observers log."""
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    handler = Handler()
    logging.getLogger("my_plugin").addHandler(handler)
    file, store = str(pasted / "benchmarks.toml"), str(pasted / "store")
    backbench("run", file, "--store", store, "--executor", "thread")
    yield seen
    logging.getLogger("my_plugin").removeHandler(handler)


@pytest.mark.parametrize("name", hooks())
def test_every_hook_has_an_example_that_implements_it(name: str) -> None:
    assert f"\n@hookimpl\ndef {name}(" in files(hooks()[name])["my_plugin/__init__.py"]


@pytest.mark.parametrize("base", BASES)
def test_every_base_class_has_an_example_that_derives_from_it(base: type) -> None:
    (first, *_) = files(inspect.getdoc(base) or "").values()
    assert f"({base.__name__}):\n" in first


@pytest.mark.parametrize("event", EVENTS)
def test_events_document_each_attribute_and_say_that_they_must_not_be_modified(event: type) -> None:
    assert (event.__doc__ or "").endswith("Do not modify.")
    body = inspect.getsource(event)
    for name in inspect.get_annotations(event):
        assert re.search(rf'^    {name}: .*\n    """[A-Z].*\."""$', body, re.MULTILINE), name


def test_every_kind_of_plugin_is_found_and_implemented(registry: Registry) -> None:
    assert registry.failures == []
    ours = [one for one in registry.all() if one.origin.distribution == "my-plugin"]
    assert {one.info.kind for one in ours} == set(KINDS)
    for one in ours:
        made = one.function() if one.info.kind == "metric" else one.implementation()
        assert made.__module__.startswith("my_plugin.")
    listed = backbench("plugins")
    for one in ours:
        assert f"  {one.info.name} " in listed


def test_the_benchmark_runs_on_the_executor(lines: list[str], pasted: Path) -> None:
    shown = backbench(
        "show", str(pasted / "benchmarks.toml"), "--store", str(pasted / "store"), "--format=json"
    )
    rows = {(r["attack"], r["defense"], r["evaluator"]): r for r in json.loads(shown)["rows"]}
    assert len(rows) == 46
    for (attack, defense, _), row in rows.items():
        metrics = row["metrics"]
        assert 0 <= metrics["accuracy/clean"]["mean"] <= 1
        assert ("asr" in metrics) == (attack != "none")
        assert ("detector/auroc" in metrics) == (attack != "none" and defense == "far")
        assert ("far/limit" in metrics) == (defense == "far")
        assert ("spread/images" in metrics) == (defense == "spread")
    # Stripes across and down are the easiest classes that there are.
    assert rows["none", "none", "exact-nearest"]["metrics"]["accuracy/clean"]["mean"] > 0.9


def test_what_detectors_and_verdicts_report_is_in_their_tables(
    lines: list[str], pasted: Path
) -> None:
    where = (str(pasted / "benchmarks.toml"), "--store", str(pasted / "store"), "--format=csv")
    detectors = backbench("show", *where, "--detectors").splitlines()
    assert {"far/limit:mean", "far/limit:control:mean"} <= set(detectors[0].split(","))
    (header, *rows) = backbench("show", *where, "--each-verdict").splitlines()
    place = header.split(",").index("spread/images:mean")
    assert {float(row.split(",")[place]) for row in rows} == {4}
    verdicts = backbench("show", *where, "--verdicts").splitlines()
    assert {"spread/images:attacked:mean", "spread/images:clean:mean"} <= set(
        verdicts[0].split(",")
    )


def test_the_attacks_poison_half_of_their_class_and_that_on_encoders_no_image(
    lines: list[str], pasted: Path
) -> None:
    store = Store(pasted / "store")
    manifests = [store.artifact(key) / "train.jsonl" for key in store.done()]
    counts = [len(path.read_text().splitlines()) for path in manifests if path.is_file()]
    assert sorted(counts) == [0, 12, 12]


def test_a_trigger_is_learned_once_and_its_images_are_kept(lines: list[str], pasted: Path) -> None:
    store = Store(pasted / "store")
    records = [record for key in store.done() if (record := store.record(key))]
    (learned,) = [one for one in records if one.stage.kind is StageKind.FIT_TRIGGER]
    assert learned.of(TriggerRecord) == TriggerRecord(shadow_fraction=0, references=1)
    (poison,) = [one for one in records if "trigger" in one.stage.inputs]
    assert poison.stage.inputs["trigger"] == learned.key
    kept = open_changed_images(store.artifact(poison.key) / TRIGGERED)
    marks = read_manifest(store.artifact(poison.key) / "val.jsonl")
    assert [pixel_hash(kept[mark.index]) == mark.after for mark in marks] == [True] * 40


def test_verify_names_an_image_of_a_learned_trigger_that_has_changed(
    lines: list[str], pasted: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(pasted / "store", tmp_path / "store")
    assert "differs" not in backbench(
        "verify", str(pasted / "benchmarks.toml"), "--store", str(copy)
    )
    (path,) = copy.glob(f"artifacts/*/{TRIGGERED}")
    content = bytearray(path.read_bytes())
    before = hashlib.sha256(content).hexdigest()
    content[HEADER_BYTES + 16 * 16 * 3] ^= 1  # a level of the second image
    path.write_bytes(content)
    record = copy / "records" / f"{path.parent.name}.json"
    text = record.read_text().replace(before, hashlib.sha256(content).hexdigest())
    record.write_text(text)  # as a forger would
    found = backbench("verify", str(pasted / "benchmarks.toml"), "--store", str(copy))
    sentence = "val.jsonl: line 2 (val/1) describes another image than the stored image 1"
    assert sentence in " ".join(found.split())


def test_observers_receive_the_events(lines: list[str]) -> None:
    assert re.fullmatch(r"examples: \d+ stages", lines[0])
    stages = int(lines[0].split()[1])
    assert lines[-2] == f"{stages} executed, 0 failed"
    assert re.fullmatch(r"[1-9]\d+ numbers", lines[-1])
    assert sum(line.endswith(" began") for line in lines) == stages
    assert sum(" took " in line for line in lines) == stages
    assert any(": loss " in line for line in lines)


def test_the_named_observer_receives_losses_and_results(lines: list[str], pasted: Path) -> None:
    journal = (pasted / "journal.csv").read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"pretrain my-simclr .*,\d+,\d+\.\d+", journal[0])
    assert sum(line.startswith("my-simclr,accuracy/clean,") for line in journal) == 46


def test_an_observer_of_failures_receives_the_reason(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(StageKind.FEATURES, None, None, label="features of x")
    registry.emit("stage_failed", plugin.StageFailed(stage, "no space left"))
    assert caplog.messages == ["features of x: no space left"]
    assert registry.failures == []


def test_the_column_is_shown(lines: list[str], pasted: Path) -> None:
    shown = backbench(
        "show", str(pasted / "benchmarks.toml"), "--store", str(pasted / "store"), "--format=csv"
    )
    assert "target_tp/triggered" in shown.splitlines()[0]


def test_the_metric_is_computed_from_stored_predictions(lines: list[str], pasted: Path) -> None:
    where = (str(pasted / "benchmarks.toml"), "--store", str(pasted / "store"))
    shown = backbench("show", *where, "--metric", "lost", "--format=json")
    for row in json.loads(shown)["rows"]:
        assert ("lost" in row["metrics"]) == (row["attack"] != "none")


def test_the_command_prints_the_size_of_a_store(
    lines: list[str], pasted: Path, registry: Registry
) -> None:
    registry.add_commands(cli)
    try:
        assert int(backbench("size", str(pasted / "store"))) > 1000
    finally:
        del cli.commands["size"]


#: The contract of each example, and its options.
CONTRACTS = {
    "stripes": (DatasetContract, {"images": 4}),
    "corner": (AttackContract, {"target": "bee"}),
    "beside": (AttackContract, {"target": "bee"}),
    "negative": (LearningAttackContract, {"target": "bee"}),
    "pull": (EncoderAttackContract, {"target": "bee"}),
    "mixer": (BackboneContract, {"width": 8}),
    "my-simclr": (SSLMethodContract, {}),
    "prune": (DefenseContract, {}),
    "outliers": (DefenseContract, {}),
    "far": (InputDefenseContract, {}),
    "spread": (ModelDefenseContract, {}),
    "shuffle": (TrainingDefenseContract, {}),
    "centroids": (EvaluatorContract, {}),
    "exact-nearest": (ImageEvaluatorContract, {}),
    "lost": (MetricContract, {}),
    "thread": (ExecutorContract, {}),
    "journal": (NamedObserverContract, {}),
}

#: Tests that need an installed distribution of their own, or start a process.
_INSTALLED = re.compile("entry_point|torch|between_cells")


def names_of(contract: type) -> list[str]:
    """Return the tests of a contract that run here."""
    return [one for one in dir(contract) if one.startswith("test_") and not _INSTALLED.search(one)]


def test_every_example_passes_its_contract(registry: Registry, tmp_path: Path) -> None:
    ours = [one.info for one in registry.all() if one.origin.distribution == "my-plugin"]
    assert {info.name for info in ours} == CONTRACTS.keys()
    for info in ours:
        contract, options = CONTRACTS[info.name]
        kit = type("Kit", (contract,), {"info": info, "options": options})()
        (tmp_path / info.name).mkdir()
        with standard_arithmetic():
            for test in names_of(contract):
                run(kit, test, tmp_path / info.name)


def test_the_examples_of_hooks_pass_their_contracts(registry: Registry, tmp_path: Path) -> None:
    for contract in (ObserverContract, ColumnContract, CommandContract):
        kit = type("Kit", (contract,), {"plugin": sys.modules["my_plugin"]})()
        (tmp_path / contract.__name__).mkdir()
        for test in names_of(contract):
            run(kit, test, tmp_path / contract.__name__)
