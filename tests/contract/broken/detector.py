"""Defenses that act on the input, and learn nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from backbench.model import StageKind
from backbench.plugin import Defense, DefenseInfo
from backbench.testing import InputDefenseContract
from backbench.testing.hygiene import run_once
from backbench.testing.samples import tiny_encoder
from tests.contract.broken import broken
from tests.contract.broken.image_evaluator import means_of


class Right(Defense):
    """It rejects bright images."""

    def score(self, encoder, images, context):
        return means_of(images).mean(axis=1) - 128


class Kit(InputDefenseContract):
    __test__ = False
    info = DefenseInfo(
        name="bright", summary="Rejects some.", target=f"{__name__}:Right", acts_on="input"
    )
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    run_once(folder, kit, StageKind.DETECT, encoder=tiny_encoder())


_SCORE, _ALONE = (
    "test_each_image_has_a_finite_score",
    "test_scores_depend_on_encoder_images_and_seed_alone",
)
_INPUT = "test_its_input_is_not_changed"


@broken(_SCORE, "scores of shape .11,. for 12 images")
class OneScoreTooFew(Right):
    """It gives no score to the last image."""

    def score(self, encoder, images, context):
        return super().score(encoder, images, context)[:-1]


@broken(_SCORE, "not finite for 1 of 12")
class OneScoreIsNoNumber(Right):
    """It gives NaN to an image."""

    def score(self, encoder, images, context):
        scores = super().score(encoder, images, context)
        scores[3] = np.nan
        return scores


@broken(_SCORE, "it must be real numbers")
class NamesTheSuspicious(Right):
    """It gives words where scores are expected."""

    def score(self, encoder, images, context):
        return ["clean"] * len(images)


@broken("test_scores_follow_from_the_images")
class RejectsTheFirst(Right):
    """It rejects the first images, whatever they show."""

    def score(self, encoder, images, context):
        return np.where(np.arange(len(images)) < 4, 1.0, -1.0)


@broken("test_scores_follow_from_the_images")
class GivesPositions(Right):
    """It sorts the images where it means to rank them."""

    def score(self, encoder, images, context):
        return np.argsort(super().score(encoder, images, context)) - len(images) / 2


@broken(_INPUT, "the detector changed the mode")
class TrainsTheEncoder(Right):
    """It leaves the encoder in training mode."""

    def score(self, encoder, images, context):
        encoder.train()
        return super().score(encoder, images, context)


@broken(_INPUT, "read-only")
class WritesToImages(Right):
    """It writes to an image."""

    def score(self, encoder, images, context):
        images.image(0)[:] = 0
        return super().score(encoder, images, context)


@broken(_ALONE)
class DrawsGlobally(Right):
    """It draws from NumPy's global generator."""

    def score(self, encoder, images, context):
        return super().score(encoder, images, context) + np.random.rand()  # noqa: NPY002


@broken(_ALONE)
class DependsOnTheProcess(Right):
    """Its scores follow from the process id."""

    def score(self, encoder, images, context):
        return super().score(encoder, images, context) * os.getpid()


@broken("test_a_second_set_is_scored_as_the_first")
class KeepsItsScores(Right):
    """Its scores add up over calls."""

    total: Any = 0.0

    def score(self, encoder, images, context):
        self.total = self.total + super().score(encoder, images, context)
        return self.total


@broken(_SCORE, "does not act on the input")
class ScoresNothing(Defense):
    """It has no score."""


_KEPT: dict[int, Any] = {}


@broken("test_nothing_is_kept_between_cells")
class KeepsDirectionsBySeed(Right):
    """It keeps, for all encoders of a seed, what it has computed with the first."""

    def score(self, encoder, images, context):
        first = float(next(encoder.parameters()).detach().mean())
        return super().score(encoder, images, context) + _KEPT.setdefault(context.seed, first)


@broken("test_nothing_is_kept_between_cells")
class ReadsTheCurrentFolder(Right):
    """Its threshold follows from where it runs."""

    def score(self, encoder, images, context):
        return super().score(encoder, images, context) + len(list(Path().iterdir()))
