"""Defenses that act on the dataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from backbench.model import StageKind
from backbench.plugin import Defense, DefenseInfo
from backbench.testing import DefenseContract
from backbench.testing.hygiene import run_once
from backbench.testing.samples import tiny_encoder
from tests.contract.broken import broken


class Right(Defense):
    """It drops the brightest images."""

    def sanitize(self, encoder, images, context):
        brightness = images.pixels.mean(axis=(1, 2, 3))
        return brightness - np.quantile(brightness, 0.9)


class Kit(DefenseContract):
    __test__ = False
    info = DefenseInfo(
        name="brightest", summary="Drops some.", target=f"{__name__}:Right", acts_on="dataset"
    )
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    run_once(folder, kit, StageKind.SANITIZE, encoder=tiny_encoder())


_RESULT, _INPUT = "test_result_is_what_the_record_says", "test_its_input_is_not_changed"
_ALONE = "test_result_depends_on_its_input_and_the_seed_alone"


@broken(_RESULT, "scores of shape .39,. for 40 images")
class OneScoreTooFew(Right):
    """It gives no score to the last image."""

    def sanitize(self, encoder, images, context):
        return super().sanitize(encoder, images, context)[:-1]


@broken(_RESULT, "scores of shape .40, 1. for 40 images")
class ScoresInATable(Right):
    """It gives scores as a table of one column."""

    def sanitize(self, encoder, images, context):
        return super().sanitize(encoder, images, context)[:, None]


@broken(_RESULT, "not finite for 1 of 40")
class OneScoreIsNoNumber(Right):
    """It gives NaN to an image."""

    def sanitize(self, encoder, images, context):
        scores = super().sanitize(encoder, images, context)
        scores[3] = np.nan
        return scores


@broken(_RESULT, "dropped every training image")
class DropsAll(Right):
    """It drops every image."""

    def sanitize(self, encoder, images, context):
        return np.arange(1.0, 41.0)


@broken(_RESULT, "it must be real numbers")
class NamesTheSuspicious(Right):
    """It gives words where scores are expected."""

    def sanitize(self, encoder, images, context):
        return ["clean"] * len(images)


@broken("test_scores_follow_from_the_images")
class DropsTheFirst(Right):
    """It drops the first images, whatever they show."""

    def sanitize(self, encoder, images, context):
        return np.where(np.arange(len(images)) < 4, 1.0, -1.0)


@broken(_INPUT, "read-only")
class SubtractsTheMean(Right):
    """It writes to the images."""

    def sanitize(self, encoder, images, context):
        images.pixels[:] -= images.pixels.min()
        return super().sanitize(encoder, images, context)


@broken(_INPUT)
class ChangesTheEncoder(Right):
    """It puts the encoder into training mode."""

    def sanitize(self, encoder, images, context):
        encoder.train()
        return super().sanitize(encoder, images, context)


@broken("test_global_generators_are_untouched")
class DrawsGlobally(Right):
    """It draws from NumPy's global generator."""

    def sanitize(self, encoder, images, context):
        return super().sanitize(encoder, images, context) + np.random.rand()  # noqa: NPY002


@broken(_ALONE)
class DependsOnTheProcess(Right):
    """Its scores follow from the process id."""

    def sanitize(self, encoder, images, context):
        return super().sanitize(encoder, images, context) * os.getpid()


@broken(_ALONE)
class KeepsItsScores(Right):
    """Its scores add up over calls."""

    total: Any = 0.0

    def sanitize(self, encoder, images, context):
        type(self).total = self.total + super().sanitize(encoder, images, context)
        return self.total


@broken(_RESULT, "the clean fraction lies in")
class AsksForNothing(Right):
    """It asks for no clean images at all."""

    def sanitize(self, encoder, images, context):
        context.clean(0)
        return super().sanitize(encoder, images, context)


@broken(_RESULT, "the clean fraction lies in .0, 0.5.")
class TrustsTooManyImages(Right):
    """It requests three quarters of the images as clean."""

    def sanitize(self, encoder, images, context):
        context.clean(0.75)
        return super().sanitize(encoder, images, context)


@broken(_RESULT, "does not act on the dataset")
class SanitizesNothing(Defense):
    """It has no sanitize."""
