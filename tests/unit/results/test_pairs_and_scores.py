"""Metrics that read scores, or a row with a defense and the same row without it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Bench, tiny
from tests.predictions import TARGET, predicted_store, stored

from backbench.benchmark.config import load_benchmark
from backbench.model import NONE, Plan, Stage
from backbench.plugin import MetricInfo, hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry, load_registry
from backbench.report.board import board_of, undefended_in
from backbench.store.predictions import PREDICTIONS, read_scores, write_predictions
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


def shares(folder: Path) -> tuple[float, float, float]:
    """Return accuracy, ASR, and accuracy of triggered images of other classes."""
    shown = stored(folder)
    labels, triggered = shown["labels"], shown["triggered_predictions"]
    others = labels != TARGET
    return (
        float((shown["clean_predictions"] == labels).mean()),
        float((triggered == TARGET)[others].mean()),
        float((triggered == labels)[others].mean()),
    )


def test_ratings_compare_a_defended_row_with_the_same_row_without(
    plan: Plan, tmp_path: Path, bench: Bench
) -> None:
    out = bench("show", "--format", "json", "--metric", "der", "--metric", "rir").assert_ok().out
    rows = {
        tuple(row[f] for f in ("method", "attack", "defense", "evaluator")): row
        for row in json.loads(out)["rows"]
    }
    keys = {cell.name: cell.evaluation for cell in plan.cells}
    for name, key in keys.items():
        values = rows[name.method, name.attack, name.defense, name.evaluator]["metrics"]
        if NONE in {name.attack, name.defense}:
            assert not {"der", "rir"} & values.keys()
            continue
        own = shares(tmp_path / "store" / "artifacts" / key)
        other = shares(tmp_path / "store" / "artifacts" / keys[replace(name, defense=NONE)])
        lost = max(0, other[0] - own[0])
        assert values["der"]["mean"] == pytest.approx((max(0, other[1] - own[1]) - lost + 1) / 2)
        assert values["rir"]["mean"] == pytest.approx((max(0, own[2] - other[2]) - lost + 1) / 2)


def test_an_unusual_metric_has_no_column_unless_it_is_wanted(plan: Plan, bench: Bench) -> None:
    assert plan.cells
    assert "DER" not in bench("show").assert_ok().out
    assert "DER" in bench("show", "--metric", "der").assert_ok().out
    assert "der:mean" in bench("show", "--format", "csv").assert_ok().out.splitlines()[0]


def test_undefended_evaluations_are_those_of_the_same_cell(plan: Plan) -> None:
    found = undefended_in(plan)
    by_key = {cell.evaluation: cell.name for cell in plan.cells}
    assert len(found) == len(plan.cells) // 2
    for key, other in found.items():
        assert by_key[key].defense == "distill"
        assert by_key[other] == replace(by_key[key], defense=NONE)


def confidence(
    labels: np.ndarray, clean: np.ndarray, triggered: np.ndarray | None, target: Any, classes: int
) -> float | None:
    del labels, clean
    if triggered is None or target is None:
        return None
    assert triggered.shape[1] == classes
    return float(triggered[:, target].mean())


class Plugin:
    @hookimpl
    def register_metrics(self) -> Iterable[MetricInfo]:
        yield MetricInfo(
            name="confidence",
            summary="Mean score of the target.",
            target=f"{__name__}:confidence",
            reads="scores",
        )


def test_a_metric_reads_scores_where_they_are_stored(plan: Plan, tmp_path: Path) -> None:
    registry = Registry()
    registry.add(Plugin(), Origin("other", "1.0", "other"))
    store = Store(tmp_path / "store")
    key = next(cell.evaluation for cell in plan.cells if cell.name.attack != NONE)
    path = store.artifact(key) / PREDICTIONS
    shown, rng = stored(store.artifact(key)), np.random.default_rng(0)
    for version in ("clean", "triggered"):
        table = rng.random((len(shown["labels"]), CLASSES)).astype(np.float16)
        shown[f"{version}_scores"] = table
    write_predictions(path, shown)
    clean, triggered = read_scores(path, "")
    assert clean.dtype == np.float32
    assert triggered is not None
    assert np.array_equal(triggered, shown["triggered_scores"])
    found = [row for row in board_of(registry, plan, store).rows if "confidence" in row.values]
    assert len(found) == 1  # of the others, no scores are stored
    expected = shown["triggered_scores"].astype(np.float32)[:, TARGET].mean()
    assert found[0].values["confidence"].mean == pytest.approx(expected)
    assert not registry.failures
