"""Contract of metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, cast

import numpy as np
import pytest

from backbench.images import read_only
from backbench.plugin import MetricInfo, Predicted
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registered
from backbench.testing.base import PluginContract, assert_light
from backbench.testing.purity import elsewhere, global_generators_untouched

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
        registered = Registered(self.info, Origin("", "", ""))
        return self.guarded(f"importing {self.info.target}", registered.function)

    def ask(
        self, *, attacked: bool, target: int | None, order: int = 0, unpredicted: int = 0
    ) -> Any:
        """Compute the metric of some predictions, of the same images in one of many orders.

        After the classes of the dataset come more that images have, and no prediction.
        """
        rng = np.random.default_rng(0)
        predicted = len(self.metadata.classes)
        classes = predicted + unpredicted
        labels = np.arange(20 * classes) % classes
        right = labels % predicted
        clean = np.where(rng.random(len(labels)) < 0.7, right, rng.integers(predicted))
        triggered = np.where(rng.random(len(labels)) < 0.5, clean, predicted - 1)
        half = np.where(np.arange(len(labels)) % 2, right, clean)
        moved = np.random.default_rng(order).permutation(len(labels))
        shown = [read_only(one[moved]) for one in (labels, clean, triggered)]
        function, reads = self.function(), cast("MetricInfo", self.info).reads
        if reads == "scores":
            shown[1:] = [read_only(np.eye(classes, dtype=np.float32)[one]) for one in shown[1:]]
        given: tuple[Any, Any] = (shown[1], shown[2] if attacked else None)
        if reads == "pairs":
            mended = read_only(half[moved])
            given = (Predicted(shown[1], mended if attacked else None), Predicted(*given))
        return self.guarded(
            "the metric",
            lambda: function(shown[0], *given, target, classes),
        )

    def test_target_is_a_class_of_its_kind(self) -> None:
        self.function()

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
        assert is_number, f"return a number or None, not {found!r}"
        assert math.isfinite(found), f"return None where the metric has no meaning, not {found}"
        low, high = cast("MetricInfo", self.info).bounds or (-math.inf, math.inf)
        assert low <= found <= high, (
            f"return a number within the bounds of the record, [{low}, {high}], not {found}"
        )

    @pytest.mark.parametrize(("attacked", "target"), _CASES)
    def test_is_a_pure_function(self, *, attacked: bool, target: int | None) -> None:
        with global_generators_untouched():
            first = self.ask(attacked=attacked, target=target)
            again = self.ask(attacked=attacked, target=target)
            with elsewhere():
                other = self.ask(attacked=attacked, target=target)
        for found in (again, other):
            assert found == first, (
                f"let the metric follow from its arguments alone: {first} and then {found}"
            )

    def test_the_order_of_images_does_not_matter(self) -> None:
        found = [self.ask(attacked=True, target=1, order=order) for order in range(5)]
        numbers = [one for one in found if one is not None]
        same = len(numbers) in {0, len(found)} and np.allclose(numbers, numbers[:1])
        assert same, f"count all images alike: {found} in five orders of the same images"

    def test_no_target_is_no_class_without_predictions(self) -> None:
        """An attack without a target has no value where a target matters: None is no class."""
        unseen = len(self.metadata.classes)
        nothing, unpredicted_target, *others = (
            self.ask(attacked=True, target=target, unpredicted=1)
            for target in (None, unseen, *range(unseen))
        )
        same = nothing is not None and nothing == unpredicted_target
        assert not same or all(other == nothing for other in others), (
            "return None where the target is None and the metric compares with it: an untargeted "
            f"attack has {nothing}, as one whose target is never predicted"
        )
