"""What an evaluator promises."""

# ruff: noqa: S101 - asserting is what a test does

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbench.plugin import DatasetFacts, Evaluator
from backbench.testing.base import PluginContract, global_generators_untouched

_CLASSES, _DIMENSIONS, _PER_CLASS = 3, 8, 30


class EvaluatorContract(PluginContract):
    """Subclass it, and set ``info`` and, where the defaults do not fit, ``options``.

    Features are three clouds of 30 points in 8 dimensions, far from each other.
    """

    facts = DatasetFacts(
        classes=("ant", "bee", "cat"),
        train=_CLASSES * _PER_CLASS,
        val=_CLASSES * _PER_CLASS,
        size=(32, 32),
        train_per_class=(_PER_CLASS,) * _CLASSES,
    )

    @property
    def base(self) -> type[Evaluator]:
        """An evaluator."""
        return Evaluator

    def evaluator(self, seed: int = 0) -> Evaluator:
        """Make the evaluator."""
        made: Evaluator = self.implementation()(self.settings(), seed)
        return made

    def fitted(self, seed: int = 0) -> Evaluator:
        """Make the evaluator and let it learn the clouds."""
        evaluator = self.evaluator(seed)
        evaluator.fit(*clouds(0), _CLASSES)
        return evaluator

    def test_scores_have_a_column_for_each_class(self) -> None:
        """Scores are finite, one a picture and class."""
        features = clouds(1)[0]
        scores = self.fitted().predict(features)
        assert scores.shape == (len(features), _CLASSES)
        assert np.isfinite(scores).all()

    def test_a_class_without_pictures_has_a_column_too(self) -> None:
        """There may be more classes than labels that occur; none is predicted unseen."""
        evaluator = self.evaluator()
        evaluator.fit(*clouds(0), _CLASSES + 1)
        scores = evaluator.predict(clouds(1)[0])
        assert scores.shape[1] == _CLASSES + 1
        assert (scores.argmax(axis=1) < _CLASSES).all()

    def test_separable_features_are_learnt(self) -> None:
        """Clouds far from each other are told apart."""
        features, labels = clouds(1)
        accuracy = (self.fitted().predict(features).argmax(axis=1) == labels).mean()
        assert accuracy >= 0.95

    def test_scores_depend_on_features_and_seed_alone(self) -> None:
        """The same seed gives the same scores, asked once or twice, by whom ever."""
        features = clouds(1)[0]
        evaluator = self.fitted(seed=5)
        first, again = evaluator.predict(features), evaluator.predict(features)
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(first, self.fitted(seed=5).predict(features))

    def test_a_picture_is_scored_whatever_its_company(self) -> None:
        """Clean and triggered pictures are asked for apart: neither may move the other."""
        features = clouds(1)[0]
        evaluator = self.fitted()
        parts = [evaluator.predict(features[:7]), evaluator.predict(features[7:])]
        np.testing.assert_allclose(
            np.concatenate(parts), evaluator.predict(features), rtol=1e-4, atol=1e-5
        )

    def test_a_picture_without_features_is_scored(self) -> None:
        """Features of zeros, as a dead encoder gives them, still give finite scores."""
        assert np.isfinite(self.fitted().predict(np.zeros((2, _DIMENSIONS), np.float32))).all()

    def test_its_input_is_not_changed(self) -> None:
        """Features and labels are only read."""
        features, labels = clouds(0)
        evaluator = self.evaluator()
        evaluator.fit(features, labels, _CLASSES)
        evaluator.predict(features)
        np.testing.assert_array_equal(features, clouds(0)[0])
        np.testing.assert_array_equal(labels, clouds(0)[1])

    def test_global_generators_are_untouched(self) -> None:
        """Every draw comes from the seed."""
        self.implementation()
        with global_generators_untouched():
            self.fitted().predict(clouds(1)[0])


def clouds(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw points around three far corners.

    Args:
        seed: Seed of the draw; the corners are always the same.

    Returns:
        Features, (90, 8), and labels, (90,), in a mixed order.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(_CLASSES, dtype=np.int64), _PER_CLASS))
    centres = 3 * np.eye(_CLASSES, _DIMENSIONS)
    features = centres[labels] + 0.3 * rng.standard_normal((len(labels), _DIMENSIONS))
    return features.astype(np.float32), labels
