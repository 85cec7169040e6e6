"""Defenses that act on the input, and learn a threshold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from backbench.model import StageKind
from backbench.plugin import DefenseInfo
from backbench.testing import InputDefenseContract
from backbench.testing.hygiene import run_once
from backbench.testing.samples import tiny_encoder
from tests.contract.broken import broken, detector
from tests.contract.broken.image_evaluator import means_of


class Right(detector.Right):
    """It rejects images that are brighter than nine tenths of the clean images."""

    limit: Any = None

    def fit(self, encoder, context):
        levels = means_of(context.clean(0.5).images).mean(axis=1)
        self.limit = np.quantile(levels, 0.9)

    def score(self, encoder, images, context):
        return means_of(images).mean(axis=1) - self.limit

    def state(self):
        return {"limit": np.array(self.limit)}

    def restore(self, state):
        if set(state) != {"limit"}:
            raise ValueError("these arrays are no limit")
        self.limit = float(state["limit"])


class Kit(InputDefenseContract):
    __test__ = False
    info = DefenseInfo(
        name="brighter",
        summary="Rejects some.",
        target=f"{__name__}:Right",
        acts_on="input",
        learns=True,
    )
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    run_once(folder, kit, StageKind.FIT_DETECTOR, encoder=tiny_encoder())


_ALONE = "test_scores_depend_on_encoder_images_and_seed_alone"
_RESTORED = "test_a_restored_detector_scores_as_the_fitted_detector"


@broken("test_it_passes_an_image_that_it_has_learned_from")
class ForgetsItsLimit(Right):
    """It learns a threshold, and does not subtract it."""

    def score(self, encoder, images, context):
        return means_of(images).mean(axis=1)


@broken(_ALONE)
class DrawsElsewhere(Right):
    """It learns from noise that it draws without a seed."""

    def fit(self, encoder, context):
        super().fit(encoder, context)
        self.limit += float(np.random.default_rng().random())


@broken(_ALONE)
class DependsOnTheProcess(Right):
    """Its threshold follows from the process id."""

    def fit(self, encoder, context):
        self.limit = float(os.getpid())


@broken(_RESTORED, "an empty state")
class KeepsNothing(Right):
    """It stores no array."""

    def state(self):
        return {}


@broken(_RESTORED, "not finite: limit")
class LearnsInfinity(Right):
    """It learns a threshold that is not finite."""

    def state(self):
        return {"limit": np.array(np.inf)}


@broken(_RESTORED)
class KeepsHalf(Right):
    """It stores a part of what its score needs."""

    shift = 0.0

    def fit(self, encoder, context):
        super().fit(encoder, context)
        self.shift = 3.0

    def score(self, encoder, images, context):
        return super().score(encoder, images, context) + self.shift


@broken(_RESTORED)
class RoundsItsLimit(Right):
    """It stores its threshold in half precision."""

    def state(self):
        return {"limit": np.array(self.limit, dtype=np.float16)}


@broken("test_arrays_that_are_no_detector_are_refused")
class TakesAnything(Right):
    """It restores whatever it is given."""

    def restore(self, state):
        self.limit = float(state.get("limit", 128.0))


@broken("test_a_second_set_is_scored_as_the_first")
class LearnsWhileItScores(Right):
    """It learns its threshold again from each set that it scores."""

    def score(self, encoder, images, context):
        found = super().score(encoder, images, context)
        self.limit = np.quantile(means_of(images).mean(axis=1), 0.5)
        return found


@broken("test_its_input_is_not_changed", "the detector changed the mode")
class TrainsTheEncoder(Right):
    """It learns in training mode, and leaves the encoder there."""

    def fit(self, encoder, context):
        encoder.train()
        super().fit(encoder, context)
