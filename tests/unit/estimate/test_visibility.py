"""Warnings of triggers that too few views hold: a few poisons decide where they can."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.estimate.visibility import QUICK, estimates, warnings
from backbench.plugin.registry import load_registry


@pytest.mark.parametrize(
    ("scale", "count"), [("0.2, 1.0", 0), ("0.08, 0.12", 0), ("0.06, 0.1", 1), ("0.01, 0.02", 1)]
)
def test_warnings_are_those_of_all_poisons(tmp_path: Path, scale: str, count: int) -> None:
    path = tmp_path / "benchmarks.toml"
    views = f"[methods.moco-v2]\nviews = {{ scale = [{scale}] }}"
    path.write_text(tiny().replace("[methods.moco-v2]", views), encoding="utf-8")
    benchmark = load_benchmark(path, load_registry())
    every = [one for one in estimates(benchmark, QUICK) if one.shares is not None]
    assert len(every) == 2
    wanted = [f"{one.where}: {one.why}" for one in every if one.why]
    assert (list(warnings(benchmark)), len(wanted)) == (wanted, count)
