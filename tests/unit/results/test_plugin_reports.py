"""Numbers that plugins report have columns of their own, from the record of the stage."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Bench, tiny
from tests.factories import record
from tests.predictions import predicted_store

from backbench.benchmark.config import load_benchmark
from backbench.model import Plan, PluginUse, Stage, StageKind
from backbench.plugin.registry import load_registry
from backbench.results.plugin_reports import reports, with_reports
from backbench.store.records import Record
from backbench.store.store import Store


def predict(_: Stage, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return labels, np.zeros_like(labels)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    """Return a folder with a store in which each repair has reported the number of its seed."""
    folder = tmp_path_factory.mktemp("reports")
    file = folder / "benchmarks.toml"
    file.write_text(tiny().replace("seeds = [0]", "seeds = [0, 1]"), encoding="utf-8")
    plan = predicted_store(folder / "store", load_benchmark(file, load_registry()), predict)
    store = Store(folder / "store")
    for key, stage in plan.stages.items():
        if stage.kind is StageKind.REPAIR:
            record = store.record(key)
            assert record and stage.seed is not None  # noqa: PT018
            poisoned = any(plan.stages[one].kind is StageKind.POISON for one in plan.ancestors(key))
            report = {"moved": stage.seed + 10.0 * poisoned}
            path = folder / "store" / "records" / f"{key}.json"
            text = json.dumps(replace(record, report=report).to_json())
            path.write_text(text, encoding="utf-8")
    return folder, plan


@pytest.fixture
def folder(made: tuple[Path, Plan], tmp_path: Path) -> Path:
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_reported_number_is_a_column_over_seeds_beside_its_control(
    folder: Path, bench: Bench
) -> None:
    assert (folder / "store").is_dir()
    out = bench("show", "--format", "json", "--metric", "distill/moved").assert_ok().out
    for row in json.loads(out)["rows"]:
        if row["defense"] == "none":
            assert "distill/moved" not in row["metrics"]
            continue
        attacked = row["attack"] != "none"
        values = [seed + 10.0 * attacked for seed in (0, 1)]
        assert row["metrics"]["distill/moved"]["values"] == values
        if attacked:
            assert row["controls"]["distill/moved"]["values"] == [0.0, 1.0]
    table = bench("show", "--metric", "distill/moved").assert_ok().out
    assert "distill/moved" in table


def test_a_number_that_nobody_reports_is_one_sentence(folder: Path, bench: Bench) -> None:
    assert (folder / "store").is_dir()
    wrong = bench("show", "--metric", "distill/movd")
    assert wrong.code == 2
    assert "no metric is called 'distill/movd': did you mean 'distill/moved'?" in wrong.err


def test_a_report_is_part_of_a_record_only_where_there_is_one(made: tuple[Path, Plan]) -> None:
    store = Store(made[0] / "store")
    for key, stage in made[1].stages.items():
        record = store.record(key)
        assert record
        assert ("report" in record.to_json()) == (stage.kind is StageKind.REPAIR)
        assert Record.from_json(record.to_json()) == record


def test_a_poison_that_no_training_reads_reports_its_trigger_alone() -> None:
    poison = PluginUse("attack", "patch", "backbench", 1, {}, {})
    stages = {
        "own": Stage(StageKind.POISON, poison, 0),
        "shown": Stage(StageKind.POISON, poison, 0),
        "encoder": Stage(StageKind.PRETRAIN, None, 0, {"poison": "own"}),
        "end": Stage(StageKind.PREDICT, None, 0, {"encoder": "encoder", "poison": "shown"}),
    }
    psnr = {"own": 11.0, "shown": 22.0}

    def record_of(key: str) -> Record | None:
        report = {f"{of}_psnr": psnr[key] for of in ("poison", "trigger") if key in psnr}
        return record(key, stages[key], report=report) if report else None

    plan = Plan("b", stages, ())
    read = with_reports(lambda *_: {}, plan, reports(plan, record_of))
    assert read("end", "") == {"patch/poison_psnr": 11.0, "patch/trigger_psnr": 22.0}
