"""Rows of different arithmetic are named where they would be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.predictions import predicted_store

from backbench import load
from backbench.benchmark.config import load_benchmark
from backbench.cli import notices
from backbench.model import Plan, StageKind
from backbench.plugin.registry import load_registry
from backbench.results.mixed_arithmetic import mixed_arithmetic
from backbench.store.store import Store
from backbench.system.files import write
from backbench.system.json_text import to_json


@pytest.fixture
def plan(tmp_path: Path, tiny_file: Path) -> Plan:
    benchmark = load_benchmark(tiny_file, load_registry())
    for name in ("one", "two"):
        made = predicted_store(tmp_path / name, benchmark, lambda _, labels: (labels, labels))
    return made


def compute(store: Store, key: str, precision: str) -> None:
    """Write into a training's record that it was computed in a precision, on a processor."""
    record = store.record(key)
    assert record is not None
    made = replace(
        record,
        metadata=replace(record.metadata, arithmetic={"precision": precision}),
        provenance={"device": "cpu"},
    )
    write(store.root / "records" / f"{key}.json", to_json(made.to_json()))


def trainings(plan: Plan) -> list[str]:
    return [key for key, stage in plan.stages.items() if stage.kind is StageKind.PRETRAIN]


def test_one_arithmetic_is_no_warning(tmp_path: Path, plan: Plan) -> None:
    store = Store(tmp_path / "one")
    assert list(mixed_arithmetic(plan, [store])) == []  # records of before it was noted
    for key in trainings(plan):
        compute(store, key, "bf16")
    assert list(mixed_arithmetic(plan, [store])) == []


def test_the_few_are_counted_and_one_of_them_is_named(tmp_path: Path, plan: Plan) -> None:
    store, (first, *others) = Store(tmp_path / "one"), trainings(plan)
    assert len(others) > 1
    compute(store, first, "fp32")
    for key in others:
        compute(store, key, "bf16")
    (sentence,) = mixed_arithmetic(plan, [store])
    assert sentence.startswith(
        f"{len(others)} trainings were computed in bf16 on cpu, and 1 in fp32 on cpu "
        f"({plan.stages[first].label}, …): "
    )


def test_two_stores_that_are_compared_are_read_together(
    tmp_path: Path, tiny_file: Path, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, precision in {"one": "bf16", "two": "fp32"}.items():
        for key in trainings(plan):
            compute(Store(tmp_path / name), key, precision)
    experiment = load(tiny_file)
    notices.warn_of_origins(experiment, plan, tmp_path / "one")
    assert "computed in" not in capsys.readouterr().err
    notices.warn_of_origins(experiment, plan, tmp_path / "one", tmp_path / "two")
    assert "cannot be compared" in capsys.readouterr().err
