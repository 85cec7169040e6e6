"""Every plugin that comes with backbench has a contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from backbench.testing import PluginContract
from backbench.testing.base import installed
from tests.contract.builtin import (
    test_attacks,
    test_datasets,
    test_defenses,
    test_evaluators,
    test_metrics_and_executors,
    test_observers,
    test_ssl_methods,
)

#: Contracts that need a cluster, and lie with its tests.
ELSEWHERE = {("executor", "ray"): Path(__file__).parents[2] / "e2e" / "test_ray.py"}

MODULES = (
    test_attacks,
    test_datasets,
    test_defenses,
    test_evaluators,
    test_metrics_and_executors,
    test_observers,
    test_ssl_methods,
)

CONTRACTS = [
    thing
    for module in MODULES
    for name, thing in vars(module).items()
    if name.startswith("Test") and isinstance(thing, type) and issubclass(thing, PluginContract)
]


@pytest.mark.parametrize(
    "found",
    [one for one in installed().all() if one.origin.distribution == "backbench"],
    ids=lambda one: f"{one.info.kind}-{one.info.name}",
)
def test_every_builtin_has_a_contract(found):
    if elsewhere := ELSEWHERE.get((found.info.kind, found.info.name)):
        assert f"class TestRay({found.info.kind.title()}Contract)" in elsewhere.read_text()
    else:
        assert found.info in [contract.info for contract in CONTRACTS]
