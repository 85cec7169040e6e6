"""Every evaluator through its stages: classifiers, predictions, metrics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
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
from backbench.metrics import Images, at, confusion_matrix, outcomes
from backbench.model import NONE, Cell, Plan, Stage, StageKind
from backbench.plugin.registry import Registry, load_registry
from backbench.report.board import board_of
from backbench.results.reader import Counting, numbers, predictions_in, reader
from backbench.stages.run import run_stage
from backbench.store.metadata import FitRecord
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
VARIANTS = {"knn": ["k=1", "k=5"], "jigsaw": STAGES, "rotnet": STAGES}


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

    def fit(self, evaluator: str) -> Stage:
        return self.plan.stages[self.stage(evaluator).inputs["fit"]]

    def classifier(self, evaluator: str) -> Path:
        return self.store.artifact(self.fit(evaluator).key) / "classifier.safetensors"

    def folder(self, evaluator: str, attack: str = "targeted") -> Path:
        return self.store.artifact(self.cell(evaluator, attack).evaluation)

    def record(self, evaluator: str, attack: str = "targeted") -> Record:
        found = self.store.record(self.cell(evaluator, attack).evaluation)
        assert found is not None
        return found

    def metrics(self, record: Record, variant: str) -> dict[str, float]:
        read = reader(self.store.record, predictions_in(self.store), Counting())
        found = read(record.key, variant)
        assert found is not None
        return numbers(found)


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
def test_numbers_follow_from_the_predictions_of_each_variant(bench: Bench, name: str):
    record, folder = bench.record(name), bench.folder(name)
    found = stored(folder)
    tables = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
    variants = VARIANTS.get(name, [""])
    assert (record.metadata.variants or ("",)) == tuple(variants)
    for variant in variants:
        for images in ("clean", "triggered"):
            scores = found[at(f"{images}_scores", variant)]
            predicted = found[at(f"{images}_predictions", variant)]
            assert scores.shape == (32, 4)
            rows = np.arange(32)
            assert (
                scores[rows, predicted] >= scores.max(axis=1) - 0.01 * np.abs(scores).max()
            ).all()
            confusion = confusion_matrix(found["labels"], predicted, 4)
            assert tables[at(images, variant)]["confusion"] == confusion.tolist()
        again = outcomes(
            Images.of(found["labels"], record.metadata.target),
            found[at("clean_predictions", variant)],
            found[at("triggered_predictions", variant)],
            record.metadata.target,
        )
        assert bench.metrics(record, variant) == numbers(again)


@pytest.mark.parametrize("name", ALL)
def test_tables_are_the_published_ones(bench: Bench, name: str):
    for attack in ("targeted", NONE):
        folder, cell = bench.folder(name, attack), bench.cell(name, attack)
        tables = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
        for variant in VARIANTS.get(name, [""]):
            file = folder / (f"classes_{variant}.csv" if variant else "classes.csv")
            lines = file.read_text(encoding="utf-8").splitlines()
            assert len(lines) == 4 + 4
            encoder = next(
                key for key in reversed(cell.path) if bench.plan.stages[key].kind == "pretrain"
            )
            assert lines[0] == f"Model {encoder},,Clean val,,,,Pois. val,,"
            attacked = attack != NONE
            poison = cell.path[1] if attacked else ""
            assert lines[1] == f"Data {poison},,acc1,,,,acc1,,"
            clean = tables[at("clean", variant)]
            for index, line in enumerate(lines[4:]):
                cells = line.split(",")
                assert cells[:2] == [bench.classes[index].replace(",", ";"), str(index)]
                assert cells[2:4] == [f"{clean['tp'][index]}.0", f"{clean['fp'][index]}.0"]
                assert cells[4] == ""
                if attacked:
                    other = tables[at("triggered", variant)]
                    assert cells[5:] == [f"{other['tp'][index]}.0", f"{other['fp'][index]}.0"]
                else:
                    assert cells[5:] == ["", ""]


def test_clean_numbers_do_not_depend_on_the_trigger(bench: Bench):
    """The control of the attacked cell is the clean cell, but for the trigger that it is shown."""
    for name in ALL:
        control = bench.store.record(bench.cell(name).control or "")
        assert control is not None
        clean = bench.record(name, NONE)
        for variant in VARIANTS.get(name, [""]):
            theirs = bench.metrics(control, variant)
            for metric, value in bench.metrics(clean, variant).items():
                assert theirs[metric] == value


def test_a_row_a_variant(bench: Bench):
    board = board_of(load_registry(), bench.plan, bench.store)
    names = [row.names["evaluator"] for row in board.rows if row.names["attack"] == "targeted"]
    expected = [
        f"{name}:{variant}" if variant else name
        for name in ALL
        for variant in VARIANTS.get(name, [""])
    ]
    assert names == expected
    assert all("asr" in row.values and "asr" in row.controls for row in board.rows[-3:])


# -- fit stages ------------------------------------------------------------------------------------


def imported(bench: Bench, name: str, path: Path) -> Stage:
    """Run the stage that imports a classifier; return the prediction that uses it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    given = {"classifier": {"path": str(path)}}
    fit = replace(bench.fit(name), seed=None, inputs={}, content=digest, given=given, label="given")
    bench.run(fit)
    stage = bench.stage(name)
    return replace(stage, inputs={**stage.inputs, "fit": fit.key})


def test_one_fit_is_shared_by_all_triggers(bench: Bench):
    kinds = [stage.kind for stage in bench.plan.stages.values()]
    assert kinds.count(StageKind.FIT) == 2 * len(ALL)  # the poisoned encoder and the clean encoder
    assert kinds.count(StageKind.PREDICT) == 3 * len(ALL)
    for name in ALL:
        clean = bench.plan.stages[bench.cell(name, NONE).evaluation]
        control = bench.plan.stages[bench.cell(name).control or ""]
        assert clean.inputs["fit"] == control.inputs["fit"] != bench.fit(name).key


@pytest.mark.parametrize("name", [name for name in ALL if name != "knn"])
def test_an_imported_classifier_equals_the_fitted_one(bench: Bench, name: str, tmp_path: Path):
    """Also with another seed: nothing is drawn when nothing is fitted."""
    path = tmp_path / "classifier.safetensors"
    path.write_bytes(bench.classifier(name).read_bytes())
    stage = imported(bench, name, path)
    assert stage.key != bench.stage(name).key
    fitted = bench.record(name)
    for one in (stage, replace(stage, seed=99)):
        record = bench.run(one)
        assert record.files == fitted.files
    record = bench.store.record(stage.inputs["fit"])
    assert record.metadata == FitRecord(source=path.name)
    assert record.files == bench.store.record(bench.fit(name).key).files


def test_a_wrong_classifier_is_one_sentence(bench: Bench, tmp_path: Path):
    linear, raw, probe = (bench.classifier(name) for name in ("linear", "linear-raw", "jigsaw"))

    def wrong(name: str, path: Path, sentence: str) -> None:
        with pytest.raises(StageError, match=sentence):
            bench.run(imported(bench, name, path))

    wrong("linear-raw", linear, "given cannot be used: unknown: mean, scale")
    wrong("linear", raw, "given cannot be used: missing: mean, scale")
    wrong("knn", linear, "KNN stores no classifier")
    wrong("jigsaw", linear, "missing: stem.bias, stem.weight; unknown: bias")

    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(linear.read_bytes()[:50])
    wrong("linear", damaged, r"damaged\.safetensors cannot be read as a classifier")
    given = {"classifier": {"path": str(linear)}}
    with pytest.raises(StageError, match="has changed since the evaluation was planned"):
        bench.run(replace(bench.fit("linear"), content="0" * 64, given=given))

    def changed(name: str, arrays: Mapping[str, np.ndarray]) -> Path:
        save_file(dict(arrays), tmp_path / name)
        return tmp_path / name

    other = load_file(linear)
    fewer = {**other, "weight": other["weight"][:3], "bias": other["bias"][:3]}
    wrong(
        "linear", changed("fewer", fewer), r"scores of shape \(32, 3\) for 32 images and 4 classes"
    )
    parts = {name: other[name][..., :5].copy() for name in ("mean", "scale", "weight")}
    sentence = "the classifier reads 5 features, and the encoder gives"
    wrong("linear", changed("narrow", {**other, **parts}), sentence)
    short = {name: array for name, array in load_file(probe).items() if "block2" not in name}
    sentence = "the classifiers are of the stages block1, stem, and"
    wrong("jigsaw", changed("short", short), sentence)


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_fitted_twice_but_what_is_not_stored(
    bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch
):
    stage, fitted, predicted = bench.stage(name), [], []
    implementation = bench.registry.find("evaluator", stage.plugin.name).implementation()
    for method, calls in (("fit", fitted), ("predict", predicted)):
        original = getattr(implementation, method)

        def counted(self, *arguments, original=original, calls=calls):
            calls.append(self)
            return original(self, *arguments)

        monkeypatch.setattr(implementation, method, counted)
    before = bench.record(name)
    bench.store.forget(stage.key)
    assert bench.run(stage).files == before.files
    assert (len(fitted), len(predicted)) == (name == "knn", 2)
    assert bench.classifier(name).is_file() == (name != "knn")
