"""Contract of metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, cast

import numpy as np
import pytest

from backbench.images import read_only
from backbench.plugin import MetricInfo
from backbench.plugin.registry import Origin, Registered
from backbench.testing.base import (
    PluginContract,
    assert_light,
    global_generators_untouched,
    inputs_untouched,
)

#: Arguments of a metric: with a target, without one, without an attack.
_CASES = [
    pytest.param(True, 1, id="targeted"),
    pytest.param(True, None, id="untargeted"),
    pytest.param(False, None, id="no attack"),
    pytest.param(False, 1, id="no attack, some target"),
]


class MetricContract(PluginContract):
    """Subclass it, and set ``info``."""

    def function(self) -> Callable[..., Any]:
        """Import the function that the record points at."""
        return Registered(self.info, Origin("", "", "")).function()

    def ask(self, *, attacked: bool, target: int | None) -> Any:
        """Compute the metric of some predictions, which it must not change."""
        rng = np.random.default_rng(0)
        classes = len(self.metadata.classes)
        labels = np.arange(20 * classes) % classes
        clean = np.where(rng.random(len(labels)) < 0.7, labels, rng.integers(classes))
        triggered = np.where(rng.random(len(labels)) < 0.5, clean, classes - 1)
        shown = [read_only(one) for one in (labels, clean, triggered)]
        with inputs_untouched():
            return self.function()(*shown[:2], shown[2] if attacked else None, target, classes)

    def test_target_is_a_class_of_its_kind(self) -> None:
        assert callable(self.function())

    def test_its_module_does_not_import_torch(self) -> None:
        """``backbench show --metric`` needs no torch."""
        assert_light(self.info.target.partition(":")[0])

    @pytest.mark.parametrize(("attacked", "target"), _CASES)
    def test_gives_a_finite_number_or_nothing(self, *, attacked: bool, target: int | None) -> None:
        """A metric without meaning is ``None``, not NaN; it keeps to the bounds it declares."""
        found = self.ask(attacked=attacked, target=target)
        if found is None:
            return
        is_number = isinstance(found, Real) and not isinstance(found, bool)
        assert is_number
        assert math.isfinite(found)
        low, high = cast("MetricInfo", self.info).bounds or (-math.inf, math.inf)
        assert low <= found <= high

    @pytest.mark.parametrize(("attacked", "target"), _CASES)
    def test_is_a_pure_function(self, *, attacked: bool, target: int | None) -> None:
        with global_generators_untouched():
            first = self.ask(attacked=attacked, target=target)
            assert self.ask(attacked=attacked, target=target) == first
