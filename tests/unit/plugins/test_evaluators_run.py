"""Every evaluator through its stage: artifacts, heads, metrics, and heads used again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.conftest import tiny
from tests.predictions import stored

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.errors import StageError
from backbench.metrics import at, confusion_matrix, of_head, score
from backbench.model import NONE, Cell, Plan, Stage
from backbench.plugin.registry import Registry, load_registry
from backbench.results.leaderboard import build
from backbench.stages import classifiers as heads
from backbench.stages.run import run_stage
from backbench.store.records import Record
from backbench.store.store import Store

EVALUATORS = """
[evaluators.linear]
preset = "small"

[evaluators.linear-sgd]
plugin = "linear"
preset = "saha2022"
label_fraction = 1.0

[evaluators.knn]
k = [1, 5]

[evaluators.linear-augmented]
preset = "saha2022"
label_fraction = 0.5
epochs = 2

[evaluators.linear-cached]
preset = "saha2022"
label_fraction = 0.5
epochs = 3
views = 2

[evaluators.linear-raw]
preset = "saha2022"
epochs = 10

[evaluators.jigsaw]
plugin = "layer-probe"
preset = "saha2022-jigsaw"
epochs = 2

[evaluators.rotnet]
plugin = "layer-probe"
preset = "saha2022-rotnet"
label_fraction = 1.0
epochs = 2
batch_size = 32

[[matrix]]
datasets = ["drawn"]
attacks = ["none", "targeted"]
methods = ["rotnet"]
evaluators = ["linear", "linear-sgd", "knn", "linear-augmented", "linear-cached", "linear-raw", "jigsaw", "rotnet"]
"""
STAGES = ["stem", "block1", "block2"]
HEADS = {"knn": ["k=1", "k=5"], "jigsaw": STAGES, "rotnet": STAGES}


class Bench:
    """A finished benchmark, and what is in its store."""

    def __init__(self, folder: Path) -> None:
        file = folder / "benchmarks.toml"
        text = tiny().partition("[[matrix]]")[0].replace("epochs = 2", "epochs = 1") + EVALUATORS
        file.write_text(text, encoding="utf-8")
        self.registry: Registry = load_registry()
        benchmark = load_benchmark(file, self.registry)
        self.classes = benchmark.metadata["drawn"].classes
        self.plan: Plan = make_plan(benchmark, {"drawn": "content"})
        self.store = Store(folder / "store")
        self.store.prepare()
        for stage in self.plan.stages.values():
            self.run(stage)

    def run(self, stage: Stage) -> Record:
        return run_stage(stage, self.store, self.registry, "cpu", lambda *_: None)

    def cell(self, evaluator: str, attack: str = "targeted") -> Cell:
        return next(
            cell
            for cell in self.plan.cells
            if (cell.name.evaluator, cell.name.attack) == (evaluator, attack)
        )

    def stage(self, evaluator: str) -> Stage:
        return self.plan.stages[self.cell(evaluator).evaluation]

    def folder(self, evaluator: str, attack: str = "targeted") -> Path:
        return self.store.artifact(self.cell(evaluator, attack).evaluation)

    def record(self, evaluator: str, attack: str = "targeted") -> Record:
        found = self.store.record(self.cell(evaluator, attack).evaluation)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("evaluators"))


ALL = [
    "linear",
    "linear-sgd",
    "knn",
    "linear-augmented",
    "linear-cached",
    "linear-raw",
    "jigsaw",
    "rotnet",
]


@pytest.mark.parametrize("name", ALL)
def test_numbers_follow_from_the_predictions_of_each_head(bench: Bench, name: str):
    record, folder = bench.record(name), bench.folder(name)
    found = stored(folder)
    tables = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
    heads = HEADS.get(name, [""])
    assert (record.metadata.heads or ("",)) == tuple(heads)
    assert len(record.metrics) == 7 * len(heads)
    for head in heads:
        for images in ("clean", "triggered"):
            scores = found[at(f"{images}_scores", head)]
            predicted = found[at(f"{images}_predictions", head)]
            assert scores.shape == (32, 4)
            rows = np.arange(32)
            assert (
                scores[rows, predicted] >= scores.max(axis=1) - 0.01 * np.abs(scores).max()
            ).all()
            confusion = confusion_matrix(found["labels"], predicted, 4)
            assert tables[at(images, head)]["confusion"] == confusion.tolist()
        again = score(
            found["labels"],
            found[at("clean_predictions", head)],
            found[at("triggered_predictions", head)],
            record.metadata.target,
            4,
        )
        assert of_head(record.metrics, head) == again


@pytest.mark.parametrize("name", ALL)
def test_tables_are_the_published_ones(bench: Bench, name: str):
    for attack in ("targeted", NONE):
        folder, cell = bench.folder(name, attack), bench.cell(name, attack)
        tables = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
        for head in HEADS.get(name, [""]):
            file = folder / (f"classes_{head}.csv" if head else "classes.csv")
            lines = file.read_text(encoding="utf-8").splitlines()
            assert len(lines) == 4 + 4
            encoder = next(
                key for key in reversed(cell.path) if bench.plan.stages[key].kind == "pretrain"
            )
            assert lines[0] == f"Model {encoder},,Clean val,,,,Pois. val,,"
            attacked = attack != NONE
            poison = cell.path[1] if attacked else ""
            assert lines[1] == f"Data {poison},,acc1,,,,acc1,,"
            clean = tables[at("clean", head)]
            for index, line in enumerate(lines[4:]):
                cells = line.split(",")
                assert cells[:2] == [bench.classes[index].replace(",", ";"), str(index)]
                assert cells[2:4] == [f"{clean['tp'][index]}.0", f"{clean['fp'][index]}.0"]
                assert cells[4] == ""
                if attacked:
                    other = tables[at("triggered", head)]
                    assert cells[5:] == [f"{other['tp'][index]}.0", f"{other['fp'][index]}.0"]
                else:
                    assert cells[5:] == ["", ""]


def test_clean_numbers_do_not_depend_on_the_trigger(bench: Bench):
    """The control of the attacked cell is the clean cell, but for the trigger that it is shown."""
    for name in ALL:
        control = bench.store.record(bench.cell(name).control or "")
        assert control is not None
        clean = bench.record(name, NONE)
        for metric, value in clean.metrics.items():
            assert control.metrics[metric] == value


def test_a_row_a_head(bench: Bench):
    board = build(bench.plan, bench.store.record, lambda _: None)
    names = [row.names["evaluator"] for row in board.rows if row.names["attack"] == "targeted"]
    expected = [
        f"{name}:{head}" if head else name for name in ALL for head in HEADS.get(name, [""])
    ]
    assert names == expected
    assert all("asr" in row.values and "asr" in row.controls for row in board.rows[-3:])


# -- heads that are used again ---------------------------------------------------------------------


def with_head(stage: Stage, path: Path, **changes: str) -> Stage:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    content = " ".join(filter(None, (stage.content, f"head:{digest}")))
    given = {**stage.given, "head": {"path": str(path)}}
    return replace(stage, content=content, given=given, **changes)


@pytest.mark.parametrize("name", [name for name in ALL if name != "knn"])
def test_evaluate_only_equals_the_fitted_run(bench: Bench, name: str, tmp_path: Path):
    """Also with another seed: nothing is drawn when nothing is learnt."""
    path = tmp_path / "head.safetensors"
    path.write_bytes((bench.folder(name) / "head.safetensors").read_bytes())
    stage = with_head(bench.stage(name), path)
    assert stage.key != bench.stage(name).key
    fitted = bench.record(name)
    for one in (stage, replace(stage, seed=99)):
        record = bench.run(one)
        assert record.metrics == fitted.metrics
        assert record.files["predictions.npz"] == fitted.files["predictions.npz"]
        assert record.files["head.safetensors"] == fitted.files["head.safetensors"]


def test_a_wrong_head_is_one_sentence(bench: Bench, tmp_path: Path):
    head = bench.folder("linear") / "head.safetensors"
    with pytest.raises(StageError, match=r"cannot be used as the head: unknown: mean, scale"):
        bench.run(with_head(bench.stage("linear-raw"), head))
    with pytest.raises(StageError, match=r"cannot be used as the head: missing: mean, scale"):
        bench.run(with_head(bench.stage("linear"), bench.folder("linear-raw") / head.name))
    with pytest.raises(StageError, match="KNN has no head that could be restored"):
        bench.run(with_head(bench.stage("knn"), head))

    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(head.read_bytes()[:50])
    with pytest.raises(StageError, match=r"damaged\.safetensors cannot be used as the head"):
        bench.run(with_head(bench.stage("linear"), damaged))

    changed = with_head(bench.stage("linear"), damaged)
    damaged.write_bytes(b"")
    with pytest.raises(StageError, match="has changed since the evaluation was planned"):
        bench.run(changed)

    other = load_file(head)
    fewer = tmp_path / "fewer.safetensors"
    save_file({**other, "weight": other["weight"][:3], "bias": other["bias"][:3]}, fewer)
    with pytest.raises(StageError, match=r"scores \(32, 3\) for 32 images of 4 classes"):
        bench.run(with_head(bench.stage("linear"), fewer))

    narrow = tmp_path / "narrow.safetensors"
    parts = {name: other[name][..., :5].copy() for name in ("mean", "scale", "weight")}
    save_file({**other, **parts}, narrow)
    with pytest.raises(StageError, match="the head reads 5 features, and the encoder gives"):
        bench.run(with_head(bench.stage("linear"), narrow))

    with pytest.raises(StageError, match=r"head: missing: stem.bias, stem.weight; unknown: bias"):
        bench.run(with_head(bench.stage("jigsaw"), head))

    probe = load_file(bench.folder("jigsaw") / head.name)
    short = tmp_path / "short.safetensors"
    save_file({name: array for name, array in probe.items() if "block2" not in name}, short)
    with pytest.raises(StageError, match="the heads are of the stages block1, stem, and"):
        bench.run(with_head(bench.stage("jigsaw"), short))


# -- heads that evaluations share ------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_what_is_learnt_once_is_what_is_learnt_anew(
    bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """The encoder under its trigger, after and without the same encoder's clean evaluation."""
    stage = bench.stage(name)
    implementation = bench.registry.find("evaluator", stage.plugin.name).implementation()
    learnt, asked = [], []
    for method, calls in (("fit", learnt), ("predict", asked)):
        original = getattr(implementation, method)

        def counted(self, *arguments, original=original, calls=calls):
            calls.append(self)
            return original(self, *arguments)

        monkeypatch.setattr(implementation, method, counted)
    found = []
    for first in (True, False):
        heads.KEPT_HEADS.clear()
        if first:
            untriggered = {"clean", "encoder", "dataset"} & stage.inputs.keys()
            clean = {role: stage.inputs[role] for role in untriggered}
            bench.run(replace(stage, inputs=clean))
        learnt.clear()
        asked.clear()
        found.append(bench.run(stage).files)
        again = first and name != "knn"  # which has no head
        assert (len(learnt), len(asked)) == (0 if again else 1, 1 if first else 2)
    assert found[0] == found[1]


def test_few_heads_are_kept(bench: Bench):
    heads.KEPT_HEADS.clear()
    name = heads.name_of(bench.stage("linear"), bench.store.root)
    other = replace(bench.stage("linear"), seed=99)
    assert heads.name_of(other, bench.store.root) != name
    assert heads.name_of(bench.stage("linear"), bench.store.root / "other") != name
    heads.keep(name, heads.Learnt({}, {}, {}))
    for number in range(heads.KEPT):
        assert heads.recall(name) is not None
        heads.keep(str(number), heads.Learnt({}, {}, {}))
    assert heads.recall("0") is None
    for number in range(heads.KEPT):
        heads.keep(str(number), heads.Learnt({}, {}, {}))
    assert heads.recall(name) is None


def test_the_other_denominator_changes_the_asr_alone(bench: Bench):
    stage = bench.stage("knn")
    record = bench.run(replace(stage, content="asr:all-images"))
    usual = bench.record("knn")
    assert record.metadata.asr_denominator == "all-images"
    assert usual.metadata.asr_denominator == "other-classes"
    found = stored(bench.store.artifact(record.key))
    for head in HEADS["knn"]:
        hits = found[at("triggered_predictions", head)] == record.metadata.target
        assert record.metrics[at("asr", head)] == pytest.approx(hits.mean())
    for metric, value in usual.metrics.items():
        if not metric.startswith("asr"):
            assert record.metrics[metric] == value
    with pytest.raises(StageError, match="an evaluation cannot be told 'asr:none'"):
        bench.run(replace(stage, content="asr:none"))
