"""An encoder of ours goes out of the house, comes back as a stranger, and gets the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file

import backbench as bb
from backbench.nn.encoder import weights_in
from tests.conftest import Bench, Outcome, tiny
from tests.factories import run_light

pytestmark = pytest.mark.slow

#: What the tiny benchmark's encoders are normalized by.
NORMALIZE = "0.5,0.5,0.5/0.25,0.25,0.25"


def small() -> str:
    """Return a benchmark with one method, whose backbone is torchvision's ResNet-18."""
    changes = (
        ("train_per_class = 24", "train_per_class = 8"),
        (
            'preset = "small"\nepochs = 2',
            'preset = "small"\nepochs = 1\nbackbone.name = "resnet18"',
        ),
        ("batch_size = 32\nqueue = 64", "batch_size = 16\nqueue = 32"),
        ('methods = ["moco-v2", "rotnet"]', 'methods = ["moco-v2"]'),
        ('defenses = ["none", "distill"]', 'defenses = ["none"]'),
        ("[[matrix]]", "[evaluators.knn]\nk = 5\n\n[[matrix]]"),
    )
    text = tiny()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run of the benchmark, and its encoders as strangers save them."""
    folder = tmp_path_factory.mktemp("external")
    (folder / "benchmarks.toml").write_text(small(), encoding="utf-8")
    run = bb.load(folder / "benchmarks.toml").run(
        store=folder / "store", executor="serial", device="cpu"
    )
    assert not run.outcome.failed
    for path in (folder / "store" / "records").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["stage"]["kind"] == "pretrain":
            name = "poisoned" if "poison" in record["stage"]["inputs"] else "clean"
            artifact = folder / "store" / "artifacts" / record["key"]
            own = load_file(weights_in(artifact))
            state = {key.removeprefix("backbone.body."): one for key, one in own.items()}
            state["fc.weight"] = torch.zeros(3, 512)
            torch.save({"state_dict": state, "epoch": 1}, folder / f"{name}.pth.tar")
            (folder / name).symlink_to(artifact)
    return folder


@pytest.fixture
def there(finished: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return the command, run in the folder of the finished benchmark."""
    monkeypatch.chdir(finished)
    return bench


def rows(outcome: Outcome) -> dict[tuple[str, str], dict[str, Any]]:
    found = json.loads(outcome.assert_ok().out)["rows"]
    return {(row["attack"], row["evaluator"]): row for row in found}


def evaluate(bench: Bench, *arguments: str) -> Outcome:
    return bench("evaluate", *arguments, "--executor", "serial", "--format", "json")


def test_the_same_numbers_as_our_own_cell(there: Bench) -> None:
    own = rows(there("show", "--format", "json", "--filter", "attack=targeted"))
    asked = ["--weights", "poisoned.pth.tar", "--layout", "torchvision", "--normalize", NORMALIZE]
    asked += ["--attack", "targeted", "--control", "clean.pth.tar"]
    outcome = evaluate(there, *asked)
    found = rows(outcome)
    assert "14 stages executed, 2 were in the store" in outcome.err  # the images, the trigger
    assert found.keys() == own.keys()
    for name, row in found.items():
        assert row["external"] is True
        assert row["method"] == "poisoned"
        assert own[name]["external"] is False
        for part in ("metrics", "controls", "lifts"):
            known = {metric for metric in own[name][part] if "/poison_" not in metric}
            assert row[part] == {metric: own[name][part][metric] for metric in known}

    again = evaluate(there, *asked)
    assert "0 stages executed, 16 were in the store" in again.err
    assert rows(again) == found


def test_our_own_layout_needs_no_more_words(there: Bench) -> None:
    own = rows(there("show", "--format", "json", "--filter", "attack=none"))
    outcome = evaluate(there, "--weights", "poisoned", "--evaluator", "knn")
    (row,) = rows(outcome).values()
    assert "layout backbench, resnet18 (imagenet), 32 px, mean 0.5/0.5/0.5" in outcome.err
    assert row["seeds"] == [0]
    clean = rows(evaluate(there, "--weights", "clean", "--evaluator", "knn"))
    assert clean["none", "knn"]["metrics"] == own["none", "knn"]["metrics"]


def test_without_a_control_the_row_says_so(there: Bench) -> None:
    asked = ("--weights", "clean", "--evaluator", "knn", "--attack", "targeted", "--name", "it")
    outcome = evaluate(there, *asked)
    assert "no --control" in outcome.err
    (row,) = rows(outcome).values()
    assert row["method"] == "it"
    assert "asr" in row["metrics"]
    assert row["controls"] == row["lifts"] == {}
    text = there("evaluate", *asked, "--format", "table").assert_ok().out
    assert "it †" in text
    assert "† external: weights that were not trained here" in text


def test_a_classifier_that_was_fitted_before(there: Bench, finished: Path) -> None:
    asked = ("--weights", "clean", "--evaluator", "linear")
    fitted = rows(evaluate(there, *asked))
    classifier = next(
        path.parent.parent / "artifacts" / path.stem / "classifier.safetensors"
        for path in (finished / "store" / "records").glob("*.json")
        if json.loads(path.read_text(encoding="utf-8"))["stage"]["label"]
        == "fit linear · clean · none · seed 0"
    )
    outcome = evaluate(there, *asked, "--classifier", str(classifier))
    assert "2 stages executed" in outcome.err
    assert rows(outcome) == fitted

    copy = finished / "copy.safetensors"
    copy.write_bytes(classifier.read_bytes())
    for weights, file, sentence in (
        ("poisoned", classifier, "on the features of another encoder (import clean)"),
        ("poisoned", copy, "copy.safetensors was fitted on the features of an unknown encoder"),
    ):
        asked = ("--weights", weights, "--evaluator", "linear", "--name", file.stem)
        store = ("--store", str(finished / f"other-{file.stem}"))
        (row,) = rows(evaluate(there, *asked, *store, "--classifier", str(file))).values()
        (flag,) = row["flags"]
        assert flag["name"] == "classifier"
        assert sentence in flag["sentence"]


def test_a_classifier_that_does_not_fit_is_refused_before_anything_is_computed(
    there: Bench, tmp_path: Path
) -> None:
    own = {"mean": np.zeros(512, np.float32), "scale": np.ones(512, np.float32)}
    for (classes, width), sentence in (
        ((7, 512), "it scores 7 classes, the dataset has 4"),
        ((4, 8), "mean and scale are not of the inputs of weight"),
    ):
        layer = {
            "weight": np.ones((classes, width), np.float32),
            "bias": np.ones(classes, np.float32),
        }
        save_file({**own, **layer}, tmp_path / "c.safetensors")
        asked = ("--weights", "clean", "--classifier", str(tmp_path / "c.safetensors"))
        outcome = evaluate(there, *asked, "--evaluator", "linear", "--store", str(tmp_path / "s"))
        assert (outcome.code, sentence in outcome.err) == (2, True), outcome
        refused = evaluate(there, *asked, "--evaluator", "knn", "--store", str(tmp_path / "s"))
        assert (refused.code, "KNN stores no classifier" in refused.err) == (2, True)
        assert not (tmp_path / "s").exists()


def test_an_import_is_the_trained_encoder_bit_for_bit(there: Bench, finished: Path) -> None:
    evaluate(there, "--weights", "poisoned.pth.tar", "--normalize", NORMALIZE).assert_ok()
    records = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (finished / "store" / "records").glob("*.json")
    ]
    own = json.loads((finished / "poisoned" / "encoder.json").read_text(encoding="utf-8"))
    trained = next(
        one
        for one in records
        if one["stage"]["kind"] == "pretrain" and "poison" in one["stage"]["inputs"]
    )
    imported = next(
        one
        for one in records
        if one["metadata"].get("source") == "poisoned.pth.tar"
        and one["stage"]["plugin"]["options"]["mean"] == own["mean"]
    )
    metadata = dict(imported["metadata"])
    assert len(metadata.pop("sha256")) == 64
    assert metadata == {
        "source": "poisoned.pth.tar",
        "layout": "torchvision",
        "taken": 120,
        "left": {"fc": 1},
    }

    def features(encoder: dict[str, Any]) -> list[str]:
        return sorted(
            one["files"]["features.safetensors"]["sha256"]
            for one in records
            if one["stage"]["kind"] == "features"
            and one["stage"]["inputs"]["encoder"] == encoder["key"]
            and "poison" not in one["stage"]["inputs"]
        )

    artifacts = finished / "store" / "artifacts"
    one, other = (load_file(weights_in(artifacts / it["key"])) for it in (imported, trained))
    assert one.keys() == other.keys()
    assert all(tensor.equal(other[name]) for name, tensor in one.items())
    assert features(imported) == features(trained) != []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--weights", "none.pth"], "none.pth: there is no such file"),
        (["--weights", "benchmarks.toml"], "not a checkpoint"),
        (["--weights", "clean.pth.tar", "--layout", "mocco"], "did you mean 'moco'"),
        (["--weights", "clean.pth.tar", "--layout", "moco"], "try --layout torchvision"),
        (["--weights", "clean.pth.tar", "--arch", "resnet34"], "does not fit resnet34"),
        (["--weights", "clean.pth.tar", "--attack", "target"], "did you mean 'targeted'"),
        (["--weights", "clean.pth.tar", "--control", "clean.pth.tar"], "say which with --attack"),
        (
            ["--weights", "clean.pth.tar", "--classifier", "x"],
            "name it with --evaluator (linear, knn)",
        ),
        (
            ["--weights", "clean.pth.tar", "--evaluator", "knn", "--classifier", "x"],
            "x: there is no such file",
        ),
        (["--weights", "clean.pth.tar", "--normalize", "1,2"], "three means"),
        (
            ["--weights", "clean.pth.tar", "--name", "a\x1b[31m"],
            "what the row is called with --name",
        ),
        (["--weights", "clean.pth.tar", "--image-size", "4097"], "is not in the range 1<=x<=4096"),
        (["--weights", "clean.pth.tar", "--device", "gpu"], "device 'gpu'"),
        (["--weights", "clean.pth.tar", "--executor", "locl"], "did you mean 'local'"),
        ([], "Missing option '--weights'"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_one_sentence_and_nothing_written(
    there: Bench, arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    store = tmp_path / "new"
    outcome = there("evaluate", *arguments, "--store", str(store))
    assert outcome.code == 2
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err
    assert not store.exists()


def test_help_is_light() -> None:
    assert "solo-learn" in run_light("evaluate", "--help")


def test_a_method_that_could_not_be_trained_is_in_nobodys_way(there: Bench, finished: Path) -> None:
    text = (finished / "benchmarks.toml").read_text(encoding="utf-8")
    too_many = text.replace("batch_size = 16\nqueue = 32", "batch_size = 4096\nqueue = 8192")
    assert too_many != text
    (finished / "large.toml").write_text(too_many, encoding="utf-8")
    assert there("check", "large.toml").code == 2
    asked = ("large.toml", "--weights", "clean", "--evaluator", "knn")
    assert rows(evaluate(there, *asked))
