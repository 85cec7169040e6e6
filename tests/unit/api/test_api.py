"""The library: what a notebook does, on a store without a training."""

from __future__ import annotations

import doctest
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import Bench, tiny
from tests.predictions import predicted_store

import backbench as bb
from backbench.data.dataset_options import EmbeddedOptions
from backbench.data.embedded import Embedded
from backbench.errors import ConfigError, UsageError
from backbench.model import Stage, StageKind
from backbench.report import results as results_module
from backbench.results.leaderboard import COLUMNS, Leaderboard


def predict(stage: Stage, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(int(stage.key[:8], 16))
    return rng.integers(4, size=len(labels)), rng.integers(4, size=len(labels))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny benchmark, three seeds of it, and its finished store."""
    folder = tmp_path_factory.mktemp("library")
    text = tiny().replace("seeds = [0]", "seeds = [0, 1, 2]")
    (folder / "benchmarks.toml").write_text(text, encoding="utf-8")
    predicted_store(folder / "store", bb.load(folder / "benchmarks.toml").benchmark, predict)
    return folder


@pytest.fixture
def results(folder: Path) -> bb.Results:
    return bb.open_results(folder / "store", folder / "benchmarks.toml")


ROW = {"method": "rotnet", "attack": "targeted", "defense": "none", "evaluator": "linear"}


@pytest.mark.parametrize("statement", ["import backbench as bb", "import backbench as bb; bb.load"])
def test_the_import_is_light(statement: str) -> None:
    heavy = {"torch", "torchvision", "timm", "faiss", "pandas", "click", "rich", "scipy"}
    code = f"{statement}\nimport sys\nassert not {heavy!r} & sys.modules.keys(), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    for name in bb.__all__:
        assert getattr(bb, name).__doc__
        assert name in dir(bb)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        bb.laod  # noqa: B018


def test_the_examples_of_results_are_right() -> None:
    found = doctest.testmod(results_module)
    assert found.failed == 0
    assert found.attempted > 3


def test_a_plan_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    experiment = bb.load(folder / "benchmarks.toml")
    new = experiment.plan(store=tmp_path / "new")
    assert len(new.cells) == 48
    assert new.missing == new.stages
    assert new.costs().by_method().keys() == {"moco-v2", "rotnet", "distill"}
    assert json.loads(new.table("json"))["benchmark"] == "tiny"
    assert "48 cells and 24 controls" in new.table()
    assert not (tmp_path / "new").exists()
    assert experiment.plan(store=folder / "store").missing == ()


def test_problems_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(tiny().replace("epochs = 2", "epocs = 2"), encoding="utf-8")
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        bb.load(path)
    with pytest.raises(UsageError, match="no such benchmark file"):
        bb.load(tmp_path / "nowhere.toml")


def test_a_metric_has_n_interval_and_control(results: bb.Results) -> None:
    asr = results.metric("asr", **ROW)
    (row,) = results.filter(*(f"{field}={value}" for field, value in ROW.items()))
    assert asr.n == 3
    assert asr.mean == float(asr) == pytest.approx(np.mean(asr.summary.values))
    assert asr.interval is not None
    assert asr.interval[0] < asr.mean < asr.interval[1]
    assert asr.control == row.controls["asr"]
    assert asr.control is not None
    assert asr.lift is not None
    assert asr.lift.mean == pytest.approx(asr.mean - asr.control.mean)
    clean = results.metric("accuracy/clean", **{**ROW, "attack": "none"})
    assert (clean.n, clean.control, clean.lift) == (3, None, None)


@pytest.mark.parametrize(
    ("name", "names", "sentence"),
    [
        ("asr", {"method": "rotnet"}, "8 rows are left: add attack=none|targeted"),
        ("asr", {"methods": "rotnet"}, "no field is called 'methods'"),
        ("asr", {"method": "rotnt"}, "did you mean 'rotnet'"),
        ("asrr", ROW, "no metric 'asrr': did you mean 'asr'"),
    ],
)
def test_a_metric_that_is_not_one(
    results: bb.Results, name: str, names: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence.replace("|", r"\|")):
        results.metric(name, **names)


@pytest.mark.parametrize("style", ["table", "json", "csv", "markdown", "latex", "html"])
def test_a_table_is_what_show_prints(
    folder: Path, results: bb.Results, bench: Bench, style: str
) -> None:
    where = (str(folder / "benchmarks.toml"), "--store", str(folder / "store"))
    assert bench("show", *where, "--format", style).assert_ok().out == results.table(style) + "\n"


def test_there_is_no_such_table(results: bb.Results) -> None:
    with pytest.raises(UsageError, match="no format 'markdwn': did you mean 'markdown'"):
        results.table("markdwn")


def test_records_are_flat(results: bb.Results) -> None:
    records = results.to_records()
    assert len(records) == sum(len(row.values) for row in results)
    (asr,) = [one for one in records if one["metric"] == "asr" and ROW.items() <= one.items()]
    metric = results.metric("asr", **ROW)
    assert (asr["mean"], asr["n"], asr["complete"]) == (metric.mean, 3, True)
    assert (asr["ci95_low"], asr["ci95_high"]) == metric.interval
    assert metric.control is not None
    assert asr["control"] == metric.control.mean
    assert {type(value) for one in records for value in one.values()} <= {
        str,
        int,
        float,
        bool,
        type(None),
    }


def test_a_frame_without_pandas_is_one_sentence(
    results: bb.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r'pip install "backbench\[pandas\]"'):
        results.to_frame()


def test_a_frame_holds_the_records(results: bb.Results, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pandas:
        DataFrame = staticmethod(list)

    monkeypatch.setitem(sys.modules, "pandas", Pandas)
    assert results.to_frame() == results.to_records()


def test_predictions_are_counted_differently(folder: Path) -> None:
    planned = bb.load(folder / "benchmarks.toml").plan(store=folder / "store")
    usual = planned.results().metric("asr", **ROW)
    every = planned.results(asr="all-images", metrics=["flip-rate"])
    assert every.metric("asr", **ROW).mean != usual.mean
    assert 0 <= every.metric("flip-rate", **ROW).mean <= 1
    with pytest.raises(UsageError, match="no class 'no-such'"):
        planned.results(target="no-such")


def test_other_tables_are_called_by_name(folder: Path) -> None:
    planned = bb.load(folder / "benchmarks.toml").plan(store=folder / "store")
    assert planned.sheet("verdicts").nothing == "no encoder has been inspected yet"
    with pytest.raises(UsageError, match="there is no table 'verdict': did you mean 'verdicts'"):
        planned.sheet("verdict")


def test_no_results_are_no_error() -> None:
    empty = bb.Results(Leaderboard("none", COLUMNS, ()))
    assert (len(empty), empty.to_records()) == (0, [])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[bb.Planned, bb.Run]:
    """Return the plan and the run of a matrix that trains two encoders."""
    folder = tmp_path_factory.mktemp("trained")
    path = folder / "small.toml"
    text = tiny().replace("seeds = [0]", "seeds = [0, 1]").split("[[matrix]]")[0]
    matrix = '[[matrix]]\ndatasets = ["drawn"]\nmethods = ["rotnet"]\nevaluators = ["knn"]\n'
    path.write_text(text + matrix, encoding="utf-8")
    planned = bb.load(path).plan(store=folder / "store")
    return planned, planned.run(executor="serial", device="cpu")


def test_a_run_makes_what_is_missing(trained: tuple[bb.Planned, bb.Run]) -> None:
    planned, run = trained
    assert len(run.outcome.executed) == len(planned.stages)
    assert (run.outcome.failed, planned.missing) == ({}, ())
    assert (len(run), run.metric("accuracy/clean", method="rotnet").n) == (1, 2)
    again = planned.experiment.run(store=planned.store.root, executor="serial", device="cpu")
    assert (again.outcome.executed, again.outcome.cached) == ([], len(planned.stages))
    assert again.summary.startswith("0 stages executed")
    with pytest.raises(UsageError, match="device 'gpu'"):
        planned.run(device="gpu")


def test_a_trace_leads_from_a_number_to_its_lines(trained: tuple[bb.Planned, bb.Run]) -> None:
    text = trained[0].trace("method=rotnet")
    assert "n = 2 of 2 seeds" in text
    assert "[methods.rotnet]" in text


def test_a_trace_shows_what_a_record_says_and_no_terminal_obeys_it(
    trained: tuple[bb.Planned, bb.Run], bench: Bench, tmp_path: Path
) -> None:
    planned, _ = trained
    store = shutil.copytree(planned.store.root, tmp_path / "store")
    for path in (store / "records").iterdir():
        content = json.loads(path.read_text(encoding="utf-8"))
        content["provenance"]["platform"] = "\x1b]0;x\x07"
        path.write_text(json.dumps(content), encoding="utf-8")
    file = planned.experiment.benchmark.source
    text = bench("show", file, "--store", str(store), "--trace", "method=rotnet").assert_ok().out
    assert "\\x1b]0;x\\x07" in text
    assert "\x1b" not in text
    for path in (store / "records").iterdir():
        content = json.loads(path.read_text(encoding="utf-8"))
        del content["provenance"]["commit"]
        path.write_text(json.dumps(content), encoding="utf-8")
    text = bench("show", file, "--store", str(store), "--trace", "method=rotnet").assert_ok().out
    assert "its record does not say where it was made" in text


def test_a_bundle_has_the_same_rows(
    trained: tuple[bb.Planned, bb.Run], bench: Bench, tmp_path: Path
) -> None:
    planned, run = trained
    where = (planned.experiment.benchmark.source, "--store", str(planned.store.root))
    bench("export", *where, "--out", "bundle.zip").assert_ok()
    assert bb.open_results(tmp_path / "bundle.zip").to_records() == run.to_records()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="not a backbench store"):
        bb.open_results(tmp_path / "empty")


# -- encoders in memory ------------------------------------------------------------------------


def pooled(scale: float = 1.0) -> torch.nn.Module:
    """Return a small module that maps images to 48 features."""
    torch.manual_seed(0)
    head = torch.nn.Conv2d(3, 12, 8, stride=8)
    with torch.no_grad():
        head.weight.mul_(scale)
    return torch.nn.Sequential(head, torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())


EMBEDDED = {"plugin": "embedded", "classes": 4, "train_per_class": 24, "val_per_class": 8}


def test_a_module_is_evaluated_in_memory(tmp_path: Path, bench: Bench) -> None:
    from backbench.data.embedded_classes import class_names

    attacks = {"patch": {"target": class_names(4)[0], "width": 10}}
    how = bb.How(store=tmp_path / "store", executor="serial", device="cpu")
    encoder = pooled()
    run = bb.evaluate(
        encoder,
        dataset=EMBEDDED,
        evaluators={"knn": {"k": 1}},
        attacks=attacks,
        control=pooled(2.0),
        name="mine",
        **how,
    )
    assert run.outcome.failed == {}
    (row,) = run
    assert (row.names["method"], row.external, row.complete) == ("mine", True, True)
    asr = run.metric("asr", method="mine")
    assert asr.control is not None
    assert 0 <= asr.mean <= 1
    assert encoder.training

    assert "no difference" in bench("verify", "--store", "store").assert_ok().out

    again = bb.evaluate(
        encoder, dataset=EMBEDDED, evaluators={"knn": {"k": 1}}, attacks=attacks, **how
    )
    assert again.outcome.executed == []
    other = bb.evaluate(pooled(0.5), dataset=EMBEDDED, evaluators={"knn": {"k": 1}}, **how)
    kinds = [other.plan.stages[key].kind for key in other.outcome.executed]
    assert StageKind.IMPORT in kinds
    assert StageKind.DATASET not in kinds


def test_features_of_a_module_are_what_it_computes(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    encoder = pooled().double().float()
    run = bb.evaluate(
        encoder, dataset=EMBEDDED, evaluators=["knn"], store=tmp_path, executor="serial"
    )
    features = {one.kind: key for key, one in run.plan.stages.items()}[StageKind.FEATURES]
    found = load_file(tmp_path / "artifacts" / features / "features.safetensors")
    options = {name: value for name, value in EMBEDDED.items() if name != "plugin"}
    val = Embedded(EmbeddedOptions.model_validate(options)).load("val")
    images = torch.tensor(np.stack([val.image(index) for index in range(len(val))]))
    with torch.inference_mode():
        expected = encoder(images.permute(0, 3, 1, 2).float() / 255)
    assert found["val"] == pytest.approx(expected.numpy(), abs=0.02)


class Twice(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3), keepdim=True)


@pytest.mark.parametrize(
    ("encoder", "options", "sentence"),
    [
        (Twice(), {}, r"Twice: gives \(4, 3, 1, 1\) for 4 images"),
        (torch.nn.Linear(5, 2), {}, r"Linear: cannot take images \(B, 3, 32, 32\)"),
        (pooled(), {"dataset": "embeded"}, "neither a folder nor a plugin"),
        (pooled(), {"evaluators": ["knm"]}, "did you mean 'knn'"),
        (pooled(), {"attacks": {"patch": {"target": "no-such"}}}, "no-such"),
        (pooled(), {"protocol": "embeded@1"}, "did you mean 'embedded@1'"),
    ],
)
def test_what_cannot_be_evaluated_is_one_error(
    tmp_path: Path, encoder: torch.nn.Module, options: dict[str, Any], sentence: str
) -> None:
    given = {"dataset": EMBEDDED, **options}
    with pytest.raises(UsageError, match=sentence):
        bb.evaluate(encoder, store=tmp_path / "store", **given)
    assert not (tmp_path / "store").exists()
