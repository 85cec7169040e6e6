"""Contracts of evaluators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backbench.images import ArrayImages, read_only
from backbench.model import StageKind
from backbench.plugin import EvaluationContext, Scores
from backbench.stages.evaluators import CLASSIFIER
from backbench.testing.base import (
    METADATA,
    PluginContract,
    global_generators_untouched,
    inputs_untouched,
    same_weights,
    sample_images,
    tiny_encoder,
)
from backbench.testing.hygiene import assert_same, assert_same_scores, run_twice

_CLASSES, _DIMENSIONS, _PER_CLASS = 3, 8, 30
_ALL = slice(None)

Variants = Mapping[str, NDArray[np.float32]]


class _ClassifierContract(PluginContract, ABC):
    """Contract of evaluators of both sorts."""

    @abstractmethod
    def made(self, seed: int = 0, classes: int = _CLASSES) -> Any:
        """Make the evaluator."""

    @abstractmethod
    def lesson(self, classes: int) -> tuple[Any, ...]:
        """Return what ``fit`` takes, of classes that are easy to separate."""

    def fitted(self, seed: int = 0, classes: int = _CLASSES) -> Any:
        """Make the evaluator and fit it."""
        evaluator = self.made(seed, classes)
        evaluator.fit(*self.lesson(classes))
        return evaluator

    @abstractmethod
    def asked(self, evaluator: Any, part: slice = _ALL) -> Variants:
        """Return the evaluator's scores, by variant, of (some of) the queries."""

    @abstractmethod
    def truth(self) -> NDArray[np.int64]:
        """Return the classes of the queries."""

    def test_scores_have_a_column_for_each_class(self) -> None:
        """Scores are finite, one an image and class, of every variant."""
        for scores in self.asked(self.fitted()).values():
            assert scores.shape == (len(self.truth()), _CLASSES)
            assert np.isfinite(scores).all()

    def test_a_class_without_images_has_a_column_too(self) -> None:
        """There may be more classes than labels that occur; none is predicted unseen."""
        for scores in self.asked(self.fitted(classes=_CLASSES + 1)).values():
            assert scores.shape[1] == _CLASSES + 1
            assert (scores.argmax(axis=1) < _CLASSES).all()

    def test_scores_depend_on_features_and_seed_alone(self) -> None:
        evaluator = self.fitted(seed=5)
        first = self.asked(evaluator)
        np.testing.assert_equal(first, self.asked(evaluator))
        np.testing.assert_equal(first, self.asked(self.fitted(seed=5)))

    @abstractmethod
    def reads(self) -> dict[str, Any]:
        """Return what the evaluator's stage reads besides the dataset."""

    def test_nothing_is_learned_from_the_validation_split(self, tmp_path: Path) -> None:
        """The classifier, and the scores of an image, do not depend on other validation images."""
        folders = run_twice(tmp_path, self, StageKind.PREDICT, **self.reads())
        assert_same(folders, CLASSIFIER)
        assert_same_scores(folders)

    def test_an_image_is_scored_whatever_its_company(self) -> None:
        """Clean and triggered images are scored apart: neither may move the other."""
        evaluator = self.fitted()
        parts = [self.asked(evaluator, part) for part in (slice(7), slice(7, None))]
        for name, scores in self.asked(evaluator).items():
            both = np.concatenate([part[name] for part in parts])
            np.testing.assert_allclose(both, scores, rtol=1e-3, atol=1e-4)

    def test_a_restored_classifier_scores_as_before(self) -> None:
        """``restore`` takes what ``state`` returns, and the scores are the same."""
        evaluator = self.fitted()
        state = {name: np.array(array) for name, array in evaluator.state().items()}
        assert all(np.isfinite(array).all() for array in state.values())
        if not state:
            return
        other = self.made(seed=1)
        other.restore(state)
        np.testing.assert_equal(self.asked(evaluator), self.asked(other))
        with pytest.raises(ValueError, match=r"."):
            self.made().restore({})

    def test_global_generators_are_untouched(self) -> None:
        self.implementation()
        with global_generators_untouched():
            self.asked(self.fitted())


class EvaluatorContract(_ClassifierContract):
    """Subclass it, and set ``info`` and, where the defaults do not fit, ``options``.

    Features are three clouds of 30 points in 8 dimensions, far from each other.
    """

    metadata = replace(METADATA, train=90, val=90, train_per_class=(_PER_CLASS,) * _CLASSES)

    base = "Evaluator"

    def made(self, seed: int = 0, classes: int = _CLASSES) -> Any:  # noqa: ARG002
        return self.implementation()(self.settings(), seed)

    def lesson(self, classes: int) -> tuple[Any, ...]:
        return (*clouds(0), classes)

    def asked(self, evaluator: Any, part: slice = _ALL) -> Variants:
        return by_variant(evaluator.predict(clouds(1)[0][part]))

    def reads(self) -> dict[str, Any]:
        return {"features": lambda split: clouds(int(split == "val"))}

    def truth(self) -> NDArray[np.int64]:
        return clouds(1)[1]

    def test_separable_features_are_learned(self) -> None:
        for scores in self.asked(self.fitted()).values():
            assert (scores.argmax(axis=1) == self.truth()).mean() >= 0.95

    def test_an_image_without_features_is_scored(self) -> None:
        """Features of zeros, as a dead encoder gives them, still give finite scores."""
        scores = by_variant(self.fitted().predict(np.zeros((2, _DIMENSIONS), np.float32)))
        assert all(np.isfinite(one).all() for one in scores.values())

    def test_its_input_is_not_changed(self) -> None:
        with inputs_untouched():
            self.fitted().predict(clouds(0)[0])


class ImageEvaluatorContract(_ClassifierContract):
    """Subclass it, and set ``info`` and ``options``: a few epochs that learn to separate colors.

    Images are 40 of 32 pixels, in three classes that differ in color; the encoder is a
    tiny-resnet with the weights of the start.
    """

    base = "ImageEvaluator"

    def made(self, seed: int = 0, classes: int = _CLASSES) -> Any:
        context = EvaluationContext(seed, "cpu", classes, lambda *_: None)
        return self.implementation()(self.settings(), context)

    def lesson(self, classes: int) -> tuple[Any, ...]:  # noqa: ARG002 - the context has them
        return tiny_encoder(), sample_images(self.metadata)

    def asked(self, evaluator: Any, part: slice = _ALL) -> Variants:
        """Return its scores of the training images, upside down."""
        images = sample_images(self.metadata)
        pixels = np.ascontiguousarray(images.pixels[part, ::-1])
        shown = ArrayImages(pixels, np.full(len(pixels), -1), images.sources[part])
        return by_variant(evaluator.predict(tiny_encoder(), shown))

    def reads(self) -> dict[str, Any]:
        return {"encoder": tiny_encoder()}

    def truth(self) -> NDArray[np.int64]:
        """Return the classes of these images, which the evaluator does not get."""
        return sample_images(self.metadata).labels

    def test_colors_are_learned(self) -> None:
        """Images of different colors are separated, by one variant at least."""
        found = [scores.argmax(axis=1) for scores in self.asked(self.fitted()).values()]
        assert max((one == self.truth()).mean() for one in found) >= 0.9

    def test_its_input_is_not_changed(self) -> None:
        network, images, evaluator = tiny_encoder(), sample_images(self.metadata), self.made()
        with inputs_untouched():
            evaluator.fit(network, images)
            evaluator.predict(network, images)
        assert not network.training
        assert all(parameter.grad is None for parameter in network.parameters())
        assert same_weights(network, tiny_encoder())


def by_variant(scores: Scores) -> Variants:
    """Return the scores of each variant; a single result has an empty name."""
    return scores if isinstance(scores, Mapping) else {"": scores}


def clouds(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw features, (90, 8), around three far corners, and labels, (90,); both read-only."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(_CLASSES, dtype=np.int64), _PER_CLASS))
    centers = 3 * np.eye(_CLASSES, _DIMENSIONS)
    features = centers[labels] + 0.3 * rng.standard_normal((len(labels), _DIMENSIONS))
    return read_only(features.astype(np.float32)), read_only(labels)
