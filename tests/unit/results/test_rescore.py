"""Metrics of stored predictions, counted as usual and differently, without torch."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Bench, tiny
from tests.predictions import TARGET, predicted_store, stored

from backbench.benchmark.config import load_benchmark
from backbench.errors import PluginError
from backbench.metrics import Outcome
from backbench.model import Plan, Stage, StageKind
from backbench.plugin import MetricInfo, hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registered, Registry, load_registry
from backbench.report.board import Request, board_of
from backbench.results.reader import Counting, numbers, predictions_in, reader
from backbench.store.predictions import write_predictions
from backbench.store.store import Store

CLASSES = 4


def some(stage: Stage, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(int(stage.key[:8], 16))
    return rng.integers(CLASSES, size=len(labels)), rng.integers(CLASSES, size=len(labels))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    folder = tmp_path_factory.mktemp("made")
    (folder / "benchmarks.toml").write_text(tiny(), encoding="utf-8")
    benchmark = load_benchmark(folder / "benchmarks.toml", load_registry())
    return folder, predicted_store(folder / "store", benchmark, some)


@pytest.fixture
def plan(made: tuple[Path, Plan], tmp_path: Path) -> Plan:
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    return made[1]


def attacked(plan: Plan) -> str:
    """Return the key of some evaluation under a trigger."""
    return next(
        key
        for key, stage in plan.stages.items()
        if stage.kind is StageKind.PREDICT and "triggered" in stage.inputs
    )


def content(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def row_of(board: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(
        row
        for row in board["rows"]
        if (row["method"], row["attack"], row["defense"], row["evaluator"])
        == ("rotnet", "targeted", "none", "linear")
    )


def key_of(plan: Plan) -> tuple[str, str]:
    """Return the evaluation of that row, and its control's."""
    for cell in plan.cells:
        name = cell.name
        wanted = ("rotnet", "targeted", "none", "linear")
        if (name.method, name.attack, name.defense, name.evaluator) == wanted:
            assert cell.control
            return cell.evaluation, cell.control
    raise AssertionError


def test_another_denominator_target_and_metric(plan: Plan, tmp_path: Path, bench: Bench) -> None:
    before = content(tmp_path)
    names = load_benchmark(Path("benchmarks.toml"), load_registry()).metadata["drawn"].classes
    said = ("show", "--format", "json", "--asr", "all-images", "--metric", "flip-rate")
    first = json.loads(bench(*said).assert_ok().out)
    second = json.loads(bench(*said, "--target", names[2]).assert_ok().out)
    third = json.loads(bench("show", "--format", "json", "--target", names[2]).assert_ok().out)
    assert content(tmp_path) == before  # nothing in the store is touched
    assert first["rescored"] == "rescored: ASR of all images"
    assert third["rescored"] == f"rescored: target {names[2]}"

    for board, target, every in (
        (first, TARGET, True),
        (second, 2, True),
        (third, 2, False),
    ):
        for part, key in zip(("metrics", "controls"), key_of(plan), strict=True):
            shown = stored(tmp_path / "store" / "artifacts" / key)
            labels, found = shown["labels"], shown["triggered_predictions"]
            others = labels != target
            numbers = {name: one["mean"] for name, one in row_of(board)[part].items()}
            fp = int((found[others] == target).sum())
            assert numbers["target_fp/triggered"] == fp
            expected = (found == target).mean() if every else fp / others.sum()
            assert numbers["asr"] == pytest.approx(expected)
            known = others & (shown["clean_predictions"] == labels)
            assert numbers["flip-rate"] == pytest.approx((found[known] == target).mean())
    # another target says something of encoders without attack too: how often it is taken for it
    clean = next(row for row in third["rows"] if row["attack"] == "none")
    assert "target_fp/clean" in clean["metrics"]


def test_every_form_says_that_it_was_rescored(plan: Plan, bench: Bench) -> None:
    for style in ("table", "markdown", "latex", "csv", "json"):
        out = bench("show", "--asr", "all-images", "--format", style).assert_ok().out
        assert "rescored: ASR of all images" in " ".join(out.split())
        assert "rescored" not in bench("show", "--format", style).assert_ok().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--target", "no-such"), "dataset 'drawn' has no class 'no-such'"),
        (("--metric", "flip-rat"), "no metric is called 'flip-rat': did you mean 'flip-rate'?"),
        (("--asr", "all-images", "--store", "empty"), "no finished cell of 'tiny' yet"),
    ],
)
def test_one_sentence(plan: Plan, bench: Bench, arguments: tuple[str, ...], sentence: str) -> None:
    outcome = bench("show", *arguments)
    assert outcome.code == 2
    assert sentence in outcome.err


def test_torch_is_not_imported(plan: Plan, tmp_path: Path) -> None:
    arguments = ["backbench", "show", "--asr", "all-images", "--metric", "flip-rate"]
    code = f"import sys\nsys.argv = {arguments!r}\nfrom backbench.cli.main import main\n"
    code += "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
    code += "assert not {'torch', 'torchvision', 'timm', 'faiss'} & sys.modules.keys()\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Flips" in done.stdout


def test_variants_are_rescored_one_by_one(plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = attacked(plan)
    path = store.artifact(key) / "predictions.npz"
    shown = stored(path.parent)
    variants = {"labels": shown["labels"]}
    for variant, swap in (("k=1", False), ("k=50", True)):
        for name in ("clean", "triggered"):
            found = shown[f"{name}_predictions"]
            variants[f"{name}_predictions@{variant}"] = CLASSES - 1 - found if swap else found
    write_predictions(path, variants)
    record_file = tmp_path / "store" / "records" / f"{key}.json"
    record = json.loads(record_file.read_text(encoding="utf-8"))
    record["metadata"]["variants"] = ["k=1", "k=50"]
    record_file.write_text(json.dumps(record), encoding="utf-8")
    read = reader(store.record, predictions_in(store), Counting("all-images"))
    triggered = shown["triggered_predictions"]
    for variant, target in (("k=1", TARGET), ("k=50", CLASSES - 1)):
        measured = read(key, variant)
        assert measured is not None
        asr = measured["asr"]
        assert isinstance(asr, Outcome)
        assert len(asr.images) == len(triggered)
        assert asr.value == pytest.approx((triggered == target).mean())


def test_damaged_predictions_count_as_missing(plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = attacked(plan)
    path = store.artifact(key) / "predictions.npz"
    path.write_bytes(b"x")
    assert reader(store.record, predictions_in(store), Counting())(key, "") is None
    path.unlink()
    assert reader(store.record, predictions_in(store), Counting())(key, "") is None


# -- metrics of plugins ------------------------------------------------------------------------


def recognized(labels: Any, clean: Any, triggered: Any, target: Any, classes: int) -> float | None:
    assert labels.dtype == clean.dtype == np.int64
    assert classes == CLASSES
    return None if triggered is None else float((triggered == labels).sum())


def impossible(*_: Any) -> float:
    return float("nan")


def broken(*_: Any) -> float:
    raise ZeroDivisionError("no")


def quits(*_: Any) -> float:
    raise SystemExit(3)


def writes(labels: Any, *_: Any) -> float:
    labels[:] = 0
    return 1.0


def opens(labels: Any, clean: Any, *_: Any) -> float:
    np.copyto(clean, labels)
    return 1.0


def beyond(*_: Any) -> float:
    return 1.5


def yes(*_: Any) -> Any:
    return np.True_


def text(*_: Any) -> Any:
    return "0.5"


def table(*_: Any) -> Any:
    return np.ones((1, 1))


def complexes(*_: Any) -> Any:
    return 1j


def metric(name: str, target: str = "", **more: Any) -> MetricInfo:
    return MetricInfo(
        name=name, summary="…", target=target or f"{__name__}:{name}", best="high", **more
    )


class Plugin:
    @hookimpl
    def register_metrics(self) -> Any:
        yield metric("recognized", title="Known", decimals=0)
        yield metric("impossible")
        yield metric("broken")
        for name in ("quits", "writes", "opens", "yes", "text", "table", "complexes"):
            yield metric(name)
        yield metric("beyond", bounds=(0, 1))
        yield metric("absent")
        yield metric("class", f"{__name__}:Plugin")
        yield metric("asr", f"{__name__}:recognized")


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.add(Plugin(), Origin("other", "1.0", "other"))
    return registry


def found(registry: Registry, name: str) -> Registered:
    return registry.find("metric", name)


def measured(store: Store, key: str, *metrics: Registered) -> dict[str, float]:
    found = reader(store.record, predictions_in(store), Counting(metrics=metrics))(key, "")
    assert found is not None
    return numbers(found)


def test_a_plugin_adds_a_metric(plan: Plan, tmp_path: Path, registry: Registry) -> None:
    store = Store(tmp_path / "store")
    metric = found(registry, "recognized")
    values = measured(store, attacked(plan), metric)
    assert values["recognized"] == values["accuracy/triggered"] * 8 * CLASSES
    plain = next(cell.evaluation for cell in plan.cells if cell.name.attack == "none")
    assert "recognized" not in measured(store, plain, metric)


def test_metrics_of_plugins_are_shown_like_those_of_backbench(plan: Plan, bench: Bench) -> None:
    told = json.loads(bench("show", "--format", "json").assert_ok().out)
    for row in told["rows"]:
        assert ("flip-rate" in row["metrics"]) == (row["attack"] == "targeted")
    assert "flip-rate:mean" in bench("show", "--format", "csv").assert_ok().out.splitlines()[0]
    assert "Flips" in bench("show", "--format", "markdown").assert_ok().out
    assert bench("show", "--sort", "flip-rate", "--filter", "flip-rate>0.01").assert_ok().out


def test_a_metric_may_be_the_only_column(plan: Plan, bench: Bench) -> None:
    out = bench("show", "--format", "markdown", "--metric", "target_tp/clean").assert_ok().out
    assert "target_tp/clean" in out
    assert "Acc" not in out
    assert "rescored" not in out


def test_a_metric_without_a_usual_column_has_its_control_beside_it(
    plan: Plan, tmp_path: Path
) -> None:
    asked = Request(metrics=("target_tp/triggered", "asr_lift", "accuracy/clean"))
    board = board_of(load_registry(), plan, Store(tmp_path / "store"), asked)
    assert any("target_tp/triggered" in row.controls for row in board.rows)
    assert [one.control for one in board.columns] == [True, False, False]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "impossible",
            "metric 'impossible' of other 1.0 gave nan, and must give a finite number or None",
        ),
        ("broken", "metric 'broken' of other 1.0 raised ZeroDivisionError: no"),
        ("quits", "metric 'quits' of other 1.0 raised SystemExit: 3"),
        ("writes", "metric 'writes' of other 1.0 raised ValueError: .* is read-only"),
        ("opens", "metric 'opens' of other 1.0 raised ValueError: .* is read-only"),
        ("beyond", r"gave 1.5, and must give a number in \[0, 1\] or None"),
        ("yes", "gave .*True.*, and must give a finite number or None"),
        ("text", "gave '0.5', and must give a finite number or None"),
        ("table", "gave array.*, and must give a finite number or None"),
        ("complexes", "gave 1j, and must give a finite number or None"),
        ("absent", "metric 'absent' of other 1.0: cannot import"),
        ("class", "metric 'class' of other 1.0: .* is not a function"),
    ],
)
def test_a_broken_metric_is_named(
    plan: Plan, tmp_path: Path, registry: Registry, name: str, sentence: str
) -> None:
    with pytest.raises(PluginError, match=sentence):
        measured(Store(tmp_path / "store"), attacked(plan), found(registry, name))


def test_a_broken_metric_leaves_the_others_and_is_named_once(
    plan: Plan, tmp_path: Path, registry: Registry
) -> None:
    store, before = Store(tmp_path / "store"), len(registry.failures)
    board = board_of(registry, plan, store)
    usual = board_of(Registry(), plan, store)
    for row, other in zip(board.rows, usual.rows, strict=True):
        others = {name: one for name, one in row.values.items() if name in other.values}
        assert others == other.values
        assert ("recognized" in row.values) == (row.names["attack"] == "targeted")
        assert not {"impossible", "writes", "absent"} & row.values.keys()
    named = [str(failure) for failure in registry.failures[before:]]
    assert len(named) == 12
    assert sum("metric 'writes' of other 1.0 raised ValueError" in one for one in named) == 1
    with pytest.raises(PluginError, match=r"metric 'impossible' of other 1\.0 gave nan"):
        board_of(registry, plan, store, Request(metrics=("impossible",)))


def test_show_names_a_broken_metric_at_the_end(
    plan: Plan, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backbench_evaluators.flip_rate.flip_rate", impossible)
    done = bench("show", "--format", "json").assert_ok()
    assert all("flip-rate" not in row["metrics"] for row in json.loads(done.out)["rows"])
    assert done.err.count("metric 'flip-rate' of backbench 0.1.0 gave nan") == 1
    assert bench("show", "--metric", "flip-rate").code == 2


def test_a_metric_cannot_take_a_name_that_is_ours(registry: Registry) -> None:
    assert [failure.reason for failure in registry.failures] == ["'asr': the name is reserved"]
