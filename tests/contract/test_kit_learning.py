"""Wrong attacks that learn, and the test of the kit that catches each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backbench.plugin import Attack, AttackInfo, Box, Stamp
from backbench.testing import LearningAttackContract


class Fine(Attack):
    """Learns a level from the references, and adds it."""

    target = 0
    level: Any = None

    def choose(self, labels: Any, rng: Any) -> Any:
        return np.array([0])

    def fit(self, context: Any) -> None:
        rng = np.random.default_rng(context.seed)
        mean = context.references(1).image(0).mean(axis=(0, 1))
        self.level = (mean / 8 + rng.integers(1, 9, 3)).astype(np.uint8)

    def state(self) -> Any:
        return {"level": self.level}

    def restore(self, state: Any) -> None:
        if set(state) != {"level"}:
            raise ValueError("these arrays are no level")
        self.level = state["level"]

    def stamp(self, image: Any, rng: Any, split: Any) -> Stamp:
        whole = Box(0, 0, image.shape[1], image.shape[0])
        return Stamp(np.maximum(image, 255 - self.level), whole, opacity=1.0)


class DrawsElsewhere(Fine):
    def fit(self, context: Any) -> None:
        self.level = np.random.default_rng().integers(1, 255, 3).astype(np.uint8)


class KeepsNothing(Fine):
    def state(self) -> Any:
        return {}

    def restore(self, state: Any) -> None:
        self.level = np.uint8(7)


class KeepsHalf(Fine):
    more: int = 0

    def fit(self, context: Any) -> None:
        super().fit(context)
        self.more = 255

    def stamp(self, image: Any, rng: Any, split: Any) -> Stamp:
        return super().stamp(np.maximum(image, self.more), rng, split)


class TakesAnything(Fine):
    def restore(self, state: Any) -> None:
        self.level = state.get("level", np.uint8(1))


class NamesOtherArrays(Fine):
    def restore(self, state: Any) -> None:
        super().restore(state)
        self.level = self.level + np.uint8(1)


def caught(bad: type[Attack], test: str, *, learns: bool = True) -> bool:
    class Contract(LearningAttackContract):
        info = AttackInfo(name="level", summary="L.", target="a:A", learns=learns)

        def settings(self) -> None:
            return None

        def implementation(self) -> type[Attack]:
            return bad

    try:
        getattr(Contract(), test)()
    except AssertionError:
        return True
    return False


CASES = [
    (DrawsElsewhere, "test_the_trigger_depends_on_the_images_and_the_seed_alone"),
    (KeepsNothing, "test_the_trigger_depends_on_the_images_and_the_seed_alone"),
    (KeepsHalf, "test_a_restored_trigger_is_the_fitted_trigger"),
    (NamesOtherArrays, "test_a_restored_trigger_is_the_fitted_trigger"),
    (TakesAnything, "test_arrays_that_are_no_trigger_are_refused"),
]


@pytest.mark.parametrize(("bad", "test"), CASES)
def test_a_wrong_attack_that_learns_is_caught(bad: type[Attack], test: str) -> None:
    assert caught(bad, test)


@pytest.mark.parametrize("test", sorted({test for _, test in CASES}))
def test_a_right_attack_that_learns_passes(test: str) -> None:
    assert not caught(Fine, test)


def test_an_attack_that_does_not_announce_that_it_learns_is_caught() -> None:
    assert caught(Fine, "test_it_learns", learns=False)
