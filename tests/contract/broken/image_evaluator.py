"""Evaluators on images."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from backbench.model import StageKind
from backbench.plugin import EvaluatorInfo, ImageEvaluator
from backbench.testing import ImageEvaluatorContract
from backbench.testing.hygiene import run_once
from tests.contract.broken import broken, evaluator


def means_of(images: Any) -> Any:
    """Return the mean color of each image, (N, 3)."""
    return np.stack([images.image(index).mean(axis=(0, 1)) for index in range(len(images))])


class Right(ImageEvaluator):
    """The nearest mean color."""

    def fit(self, encoder, images):
        self.centers = np.full((self.context.classes, 3), 1000.0)
        for label in np.unique(images.labels):
            self.centers[label] = means_of(images)[images.labels == label].mean(axis=0)

    def predict(self, encoder, images):
        return {"color": -np.square(means_of(images)[:, None] - self.centers).sum(axis=2)}


class Kit(ImageEvaluatorContract):
    __test__ = False
    info = EvaluatorInfo(name="colors", summary="C.", target=f"{__name__}:Right", reads="images")
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    run_once(folder, kit, StageKind.PREDICT, **kit.reads())


_COLORS, _INPUT = "test_colors_are_learned", "test_its_input_is_not_changed"


@broken(_COLORS)
class ReadsTheLabels(Right):
    """It predicts the labels that the images have."""

    def predict(self, encoder, images):
        return np.eye(self.context.classes)[images.labels]


@broken(_COLORS)
class AlwaysTheSame(Right):
    """It predicts one class for all images."""

    def predict(self, encoder, images):
        return np.tile(np.arange(float(self.context.classes)), (len(images), 1))


@broken(_INPUT, "the evaluator changed the mode")
class TrainsTheEncoder(Right):
    """It leaves the encoder in training mode."""

    def fit(self, encoder, images):
        super().fit(encoder, images)
        encoder.train()


@broken(_INPUT, "the evaluator changed 1 tensors")
class MovesTheEncoder(Right):
    """It changes a weight of the encoder."""

    def predict(self, encoder, images):
        next(encoder.parameters()).data.add_(1.0)
        return super().predict(encoder, images)


@broken(_INPUT)
class LeavesGradients(Right):
    """It leaves gradients in the encoder."""

    def fit(self, encoder, images):
        import torch

        super().fit(encoder, images)
        if any(one.requires_grad for one in encoder.parameters()):
            encoder(torch.zeros(1, 3, 32, 32)).sum().backward()


@broken(_INPUT, "read-only")
class BrightensImages(Right):
    """It writes to the images."""

    def fit(self, encoder, images):
        images.pixels[:] = images.pixels // 2
        super().fit(encoder, images)


@broken("test_an_image_is_scored_whatever_its_company")
class CentersByCompany(Right):
    """It subtracts the mean color of the images of a call."""

    def predict(self, encoder, images):
        means = means_of(images)
        means = means - means.mean(axis=0) + self.centers[:3].mean(axis=0)
        return -np.square(means[:, None] - self.centers).sum(axis=2)


@broken("test_a_second_set_of_the_same_size_is_scored_by_itself")
class KeepsScoresByNames(Right):
    """It keeps its scores by the names of images."""

    def predict(self, encoder, images):
        kept = self.__dict__.setdefault("kept", {})
        names = tuple(images.sources)
        if names not in kept:
            kept[names] = super().predict(encoder, images)
        return kept[names]


@broken("test_scores_depend_on_features_and_seed_alone")
class DrawsFromTorch(Right):
    """It draws from torch's global generator."""

    def fit(self, encoder, images):
        import torch

        super().fit(encoder, images)
        self.centers += torch.rand(1).item()


@broken("test_scores_depend_on_features_and_seed_alone")
class DependsOnTheTime(Right):
    """Its centers follow from the time."""

    def fit(self, encoder, images):
        super().fit(encoder, images)
        self.centers += time.time() // 1000 % 7


@broken("test_scores_have_a_column_for_each_class", "scores of shape .12, 4. for 12 images")
class OneColumnTooMany(Right):
    """It has a column too many."""

    def predict(self, encoder, images):
        (scores,) = super().predict(encoder, images).values()
        return np.hstack([scores, scores[:, :1] - 1])


@broken("test_target_is_a_class_of_its_kind")
class ReadsFeatures(evaluator.Right):
    """It is an evaluator on features that is announced as one on images."""
