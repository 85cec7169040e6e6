"""What tests of plans share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.model import Plan, StageKind
from backbench.plugin.registry import Registry, load_registry


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_registry()


def plan_of(path: Path, registry: Registry, text: str) -> Plan:
    path.write_text(text, encoding="utf-8")
    return make_plan(load_benchmark(path, registry), {"drawn": "content"})


def count(plan: Plan, kind: StageKind) -> int:
    return sum(stage.kind == kind for stage in plan.stages.values())


def with_badencoder() -> str:
    return (
        tiny()
        .replace('[attacks.targeted]\nplugin = "patch"', "[attacks.targeted]")
        .replace('rate = { of = "target_class", value = 1.0 }\n', 'plugin = "badencoder"\n')
    )
