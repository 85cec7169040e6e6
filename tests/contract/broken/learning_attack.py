"""Attacks on the dataset that learn their trigger."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from backbench.model import StageKind
from backbench.plugin import AttackInfo, Box, Stamp
from backbench.testing import LearningAttackContract
from backbench.testing.hygiene import run_once
from tests.contract.broken import attack, broken


class Right(attack.Right):
    """It learns a level from a reference, and adds it."""

    level: Any = None

    def fit(self, context):
        rng = np.random.default_rng(context.seed)
        mean = context.references(1).image(0).mean(axis=(0, 1))
        self.level = (mean / 8 + rng.integers(1, 9, 3)).astype(np.uint8)

    def state(self):
        return {"level": self.level}

    def restore(self, state):
        if set(state) != {"level"}:
            raise ValueError("these arrays are no level")
        self.level = state["level"]

    def stamp(self, image, rng, split):
        whole = Box(0, 0, image.shape[1], image.shape[0])
        return Stamp(np.maximum(image, 255 - self.level), whole, opacity=1.0)


class Kit(LearningAttackContract):
    __test__ = False
    info = AttackInfo(name="level", summary="L.", target=f"{__name__}:Right", learns=True)
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    run_once(folder, kit, StageKind.POISON)


_ALONE = "test_the_trigger_depends_on_the_images_and_the_seed_alone"
_RESTORED = "test_a_restored_trigger_is_the_fitted_trigger"


@broken(_ALONE)
class DrawsElsewhere(Right):
    """It draws from a generator without a seed."""

    def fit(self, context):
        self.level = np.random.default_rng().integers(1, 255, 3).astype(np.uint8)


@broken(_ALONE)
class DependsOnTheProcess(Right):
    """Its trigger follows from the process id."""

    def fit(self, context):
        self.level = np.full(3, os.getpid() % 251, np.uint8)


@broken(_ALONE, "it has learned no trigger")
class KeepsNothing(Right):
    """It stores no array."""

    def state(self):
        return {}

    def restore(self, state):
        self.level = np.uint8(7)


@broken(_ALONE, "numbers that are not finite: level")
class LearnsInfinity(Right):
    """It learns a level that is not finite."""

    def state(self):
        return {"level": np.array([np.inf])}


@broken(_RESTORED)
class KeepsHalf(Right):
    """It stores a part of what its stamp needs."""

    more = 0

    def fit(self, context):
        super().fit(context)
        self.more = 255

    def stamp(self, image, rng, split):
        return super().stamp(np.maximum(image, np.uint8(self.more)), rng, split)


@broken(_RESTORED)
class RestoresAnother(Right):
    """It restores another level than it has stored."""

    def restore(self, state):
        super().restore(state)
        self.level = self.level + np.uint8(1)


@broken("test_arrays_that_are_no_trigger_are_refused")
class TakesAnything(Right):
    """It restores whatever it is given."""

    def restore(self, state):
        self.level = state.get("level", np.uint8(1))


@broken(_ALONE, "learns no trigger")
class LearnsNothing(attack.Right):
    """It has no fit."""


_LEVELS: dict[int, Any] = {}


@broken("test_nothing_is_kept_between_cells")
class KeepsLevelsBySeed(Right):
    """It learns once a seed, whatever its references are."""

    def fit(self, context):
        super().fit(context)
        self.level = _LEVELS.setdefault(context.seed, self.level)
