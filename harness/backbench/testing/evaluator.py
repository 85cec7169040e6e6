"""Contracts of evaluators."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from backbench.errors import BackbenchError
from backbench.images import ArrayImages, Unlabelled, read_only
from backbench.model import VARIANT_NAME, StageKind
from backbench.plugin import EvaluationContext, Scores
from backbench.stages.evaluators import CLASSIFIER
from backbench.system.json_text import to_json
from backbench.testing.fresh import CellsContract
from backbench.testing.hygiene import assert_same, assert_same_scores, run_twice
from backbench.testing.purity import assert_unused, elsewhere, watched
from backbench.testing.samples import (
    METADATA,
    assert_untouched,
    other_encoder,
    sample_images,
    tiny_encoder,
)

_CLASSES, _DIMENSIONS, _PER_CLASS = 3, 8, 30
_UNEQUAL = (750, 300, 100)
_ALL, _BACKWARDS = slice(None), slice(None, None, -1)

Variants = Mapping[str, NDArray[np.float32]]

#: The fitted evaluator that tests of a contract share, and the global generators it has used.
_SHARED: WeakKeyDictionary[type[_ClassifierContract], tuple[Any, list[str]]] = WeakKeyDictionary()


class _ClassifierContract(CellsContract, ABC):
    """Contract of evaluators of both sorts."""

    @abstractmethod
    def made(self, seed: int = 0, classes: int = _CLASSES) -> Any:
        """Make the evaluator."""

    @abstractmethod
    def lesson(self, classes: int) -> tuple[Any, ...]:
        """Return what ``fit`` takes, of classes that are easy to separate."""

    def fitted(self, seed: int = 0, classes: int = _CLASSES) -> Any:
        """Make the evaluator and fit it."""
        evaluator, lesson = self.made(seed, classes), self.lesson(classes)
        self.guarded("fit", lambda: evaluator.fit(*lesson))
        return evaluator

    def shared(self) -> Any:
        """Return the fitted evaluator that tests share, which they do not fit again."""
        return self._shared()[0]

    def _shared(self) -> tuple[Any, list[str]]:
        kind = type(self)
        if kind not in _SHARED:
            self.implementation()  # importing torch is not fitting
            _SHARED[kind] = watched(self._fitted_and_asked)
        return _SHARED[kind]

    def _fitted_and_asked(self) -> Any:
        evaluator = self.fitted()
        self.asked(evaluator)
        return evaluator

    def of_cell(self, cell: int) -> dict[str, NDArray[Any]]:
        """Return the scores, by variant, of a cell."""
        found = self.asked_in_another_cell() if cell else self.asked(self.shared())
        return {f"scores {name}".strip(): np.asarray(scores) for name, scores in found.items()}

    @abstractmethod
    def asked_in_another_cell(self) -> Variants:
        """Return the scores of an evaluator whose lesson and queries are others of the same shape.

        Its seed is the same.
        """

    @abstractmethod
    def asked(self, evaluator: Any, part: slice = _ALL) -> Variants:
        """Return the evaluator's scores, by variant, of (some of) the queries."""

    def predicted(self, evaluator: Any, *shown: Any) -> Variants:
        """Return the evaluator's scores by variant; a single result has an empty name."""
        scores: Scores = self.guarded("predict", lambda: evaluator.predict(*shown))
        return scores if isinstance(scores, Mapping) else {"": scores}

    @abstractmethod
    def truth(self) -> NDArray[np.int64]:
        """Return the classes of the queries."""

    def test_scores_have_a_column_for_each_class(self) -> None:
        """Scores are finite, one an image and class, of every variant."""
        shape = (len(self.truth()), _CLASSES)
        found = self.asked(self.shared())
        assert found, "return the scores of at least one variant"
        for name, scores in found.items():
            assert not name or re.fullmatch(VARIANT_NAME, name, re.ASCII), (
                f"name a variant by letters, digits and any of . = + -, not {name!r}"
            )
            array = np.asarray(scores)
            assert array.dtype.kind in "biuf", f"return numbers as scores, not {array.dtype}"
            assert array.shape == shape, (
                f"return a score for each image and class, {shape}, not {array.shape}"
            )
            assert np.isfinite(array).all(), (
                f"return finite scores: {int((~np.isfinite(array)).sum())} are not"
            )

    def test_a_class_without_images_has_a_column_too(self) -> None:
        """There may be more classes than labels that occur; none is predicted unseen."""
        for scores in self.asked(self.fitted(classes=_CLASSES + 1)).values():
            assert scores.shape[1] == _CLASSES + 1, (
                f"return a column for each of {_CLASSES + 1} classes, those without images too: "
                f"there are {scores.shape[1]}"
            )
            assert (scores.argmax(axis=1) < _CLASSES).all(), (
                "give a class without images the lowest score: it is predicted"
            )

    def test_scores_depend_on_features_and_seed_alone(self) -> None:
        evaluator = self.shared()
        first, again = self.asked(evaluator), self.asked(evaluator)
        with elsewhere():
            other = self.asked(self.fitted())
        for found, what in ((again, "another call"), (other, "another process")):
            assert _equal(first, found), (
                f"{what} gives other scores: draw from the seed alone, and keep nothing"
            )

    @abstractmethod
    def reads(self) -> dict[str, Any]:
        """Return what the evaluator's stage reads besides the dataset."""

    def test_nothing_is_learned_from_the_validation_split(self, tmp_path: Path) -> None:
        """The classifier, and the scores of an image, do not depend on other validation images."""
        folders = self.guarded(
            "the stages fit and predict",
            lambda: run_twice(tmp_path, self, StageKind.PREDICT, **self.reads()),
        )
        assert_same(folders, CLASSIFIER)
        assert_same_scores(folders)

    def test_an_image_is_scored_whatever_its_company(self) -> None:
        """Clean and triggered images are scored apart: neither may move the other."""
        evaluator = self.fitted()  # that no other test has asked
        parts = [self.asked(evaluator, part) for part in (slice(7), slice(7, None))]
        for name, scores in self.asked(self.shared()).items():
            both = np.concatenate([part[name] for part in parts])
            assert np.allclose(both, scores, rtol=1e-3, atol=1e-4), (
                "score each image by itself: its scores change with the other images of a call, "
                "or with earlier calls"
            )

    def test_a_second_set_of_the_same_size_is_scored_by_itself(self) -> None:
        """One evaluator scores clean, then triggered images: as many, under the same names."""
        evaluator = self.shared()
        first, second = self.asked(evaluator), self.asked(evaluator, _BACKWARDS)
        for name, scores in first.items():
            assert np.allclose(scores[::-1], second.get(name, np.nan), rtol=1e-3, atol=1e-4), (
                "score the images of each call, and keep no scores or features by the number or "
                "the names of images: triggered images have those of the clean ones"
            )

    def test_a_restored_classifier_scores_as_before(self) -> None:
        """``restore`` takes what ``state`` returns, and the scores are the same."""
        evaluator = self.shared()
        given = self.guarded("state", evaluator.state)
        assert isinstance(given, Mapping), f"return arrays by name from state, not {given!r}"
        state = {name: np.array(array) for name, array in given.items()}
        for name, array in state.items():
            assert array.dtype.kind in "biuf", f"return numbers in state: {name} is {array.dtype}"
            assert np.isfinite(array).all(), f"return finite numbers in state: {name} has others"
        if not state:
            return
        other = self.made(seed=1)
        self.guarded("restore", lambda: other.restore(state))
        assert _equal(self.asked(evaluator), self.asked(other)), (
            "give in state, and take in restore, all that predict needs: the scores have changed"
        )
        refused = ""
        try:
            self.made().restore({})
        except ValueError as error:
            refused = str(error)
        assert refused, "raise a ValueError with a message in restore where arrays are missing"

    def test_a_selection_is_plain_values(self) -> None:
        """The stage's record keeps as JSON what ``fit`` has selected."""
        selection: object = self.guarded("selection", self.shared().selection)
        assert isinstance(selection, Mapping), (
            f"return values by name from selection, not {selection!r}"
        )
        try:
            to_json(dict(selection), "the selection")
        except BackbenchError as error:
            raise AssertionError(f"return JSON values from selection: {error}") from error

    def test_global_generators_are_untouched(self) -> None:
        assert_unused(self._shared()[1])


class EvaluatorContract(_ClassifierContract):
    """Subclass it, and set ``info`` and, where the defaults do not fit, ``options``.

    Features are three clouds of 30 points in 8 dimensions, far from each other.
    """

    metadata = replace(METADATA, train=90, val=90, train_per_class=(_PER_CLASS,) * _CLASSES)

    base = "Evaluator"

    def made(self, seed: int = 0, classes: int = _CLASSES) -> Any:  # noqa: ARG002
        kind, settings = self.implementation(), self.settings()
        return self.guarded("making the evaluator", lambda: kind(settings, seed))

    def lesson(self, classes: int) -> tuple[Any, ...]:
        return (*clouds(0), classes)

    def asked_in_another_cell(self) -> Variants:
        """Return scores of other features; the classes have changed places."""
        (features, labels), evaluator = clouds(2), self.made()
        moved = read_only((labels + 1) % _CLASSES)
        self.guarded("fit", lambda: evaluator.fit(features, moved, _CLASSES))
        return self.predicted(evaluator, clouds(3)[0])

    def asked(self, evaluator: Any, part: slice = _ALL) -> Variants:
        return self.predicted(evaluator, clouds(1)[0][part])

    def reads(self) -> dict[str, Any]:
        return {"features": lambda split: clouds(int(split == "val"))}

    def truth(self) -> NDArray[np.int64]:
        return clouds(1)[1]

    def test_separable_features_are_learned(self) -> None:
        for scores in self.asked(self.shared()).values():
            share = (scores.argmax(axis=1) == self.truth()).mean()
            assert share >= 0.95, (
                "give the highest score to the class of an image: of features that are easy to "
                f"separate {share:.0%} are right"
            )

    def test_another_lesson_is_learned(self) -> None:
        """One process fits evaluators of many encoders, one after the other."""
        self.shared()  # has learned before
        features, labels = clouds(0)
        evaluator = self.made()
        moved = read_only((labels + 1) % _CLASSES)
        self.guarded("fit", lambda: evaluator.fit(features, moved, _CLASSES))
        for scores in self.asked(evaluator).values():
            share = (scores.argmax(axis=1) == (self.truth() + 1) % _CLASSES).mean()
            assert share >= 0.95, (
                "learn from what fit is given alone, and keep nothing in the class or the module: "
                f"after other labels were learned by another evaluator, {share:.0%} of features "
                "that are easy to separate are right"
            )

    def test_classes_of_unequal_numbers_are_learned(self) -> None:
        """Features may be sorted by class, and of some classes there may be more than of others."""
        features, labels = clouds(0, _UNEQUAL)
        order = np.argsort(labels, kind="stable")
        lesson = read_only(features[order]), read_only(labels[order]), _CLASSES
        evaluator = self.made()
        self.guarded("fit", lambda: evaluator.fit(*lesson))
        for scores in self.asked(evaluator).values():
            right = scores.argmax(axis=1) == self.truth()
            share = min(right[self.truth() == label].mean() for label in range(_CLASSES))
            assert share >= 0.9, (
                "learn every class, whatever the order of features, and divide by its own number: "
                f"of classes with {_UNEQUAL} features, sorted, one is right in {share:.0%}; "
                "a smaller number of neighbors in `options` of the contract may help"
            )

    def test_an_image_without_features_is_scored(self) -> None:
        """Features of zeros, as a dead encoder gives them, still give finite scores."""
        found = self.predicted(self.shared(), np.zeros((2, _DIMENSIONS), np.float32))
        for scores in found.values():
            assert np.isfinite(scores).all(), "return finite scores for features of zeros too"

    def test_its_input_is_not_changed(self) -> None:
        self.predicted(self.fitted(), clouds(0)[0])


class ImageEvaluatorContract(_ClassifierContract):
    """Subclass it, and set ``info`` and ``options``: a few epochs that learn to separate colors.

    Images are 40 of 32 pixels, in three classes that differ in color; the encoder is a
    tiny-resnet with the weights of the start.
    """

    base = "ImageEvaluator"

    def made(self, seed: int = 0, classes: int = _CLASSES) -> Any:
        context = EvaluationContext(seed, "cpu", classes, lambda *_: None)
        kind, settings = self.implementation(), self.settings()
        return self.guarded("making the evaluator", lambda: kind(settings, context))

    def lesson(self, classes: int) -> tuple[Any, ...]:  # noqa: ARG002 - the context has them
        return tiny_encoder(), sample_images(self.metadata)

    def asked_in_another_cell(self) -> Variants:
        """Return scores with another encoder; the classes have changed places."""
        images, encoder = sample_images(self.metadata), other_encoder(tiny_encoder())
        labels, evaluator = (images.labels + 1) % _CLASSES, self.made()
        moved = ArrayImages(images.pixels, labels, images.sources)
        self.guarded("fit", lambda: evaluator.fit(encoder, moved))
        return self.predicted(evaluator, encoder, images)

    def asked(self, evaluator: Any, part: slice = _ALL) -> Variants:
        """Return its scores of the training images, upside down, without labels and names."""
        images = sample_images(self.metadata)
        pixels = np.ascontiguousarray(images.pixels[part, ::-1])
        shown = ArrayImages(pixels, images.labels[part], images.sources[part])
        return self.predicted(evaluator, tiny_encoder(), Unlabelled(shown))

    def reads(self) -> dict[str, Any]:
        return {"encoder": tiny_encoder()}

    def truth(self) -> NDArray[np.int64]:
        """Return the classes of these images, which the evaluator does not get."""
        return sample_images(self.metadata).labels

    def test_colors_are_learned(self) -> None:
        """Images of different colors are separated, by one variant at least."""
        found = [scores.argmax(axis=1) for scores in self.asked(self.shared()).values()]
        share = max((one == self.truth()).mean() for one in found)
        assert share >= 0.9, (
            "give the highest score to the class of an image, whose label is not given: of three "
            f"colors {share:.0%} are right; more epochs in `options` of the contract may help"
        )

    def test_its_input_is_not_changed(self) -> None:
        network, images, evaluator = tiny_encoder(), sample_images(self.metadata), self.made()
        self.guarded("fit", lambda: evaluator.fit(network, images))
        self.predicted(evaluator, network, images)
        assert_untouched(network, tiny_encoder())


def _equal(first: Variants, second: Variants) -> bool:
    same = (np.array_equal(scores, second.get(name, ())) for name, scores in first.items())
    return first.keys() == second.keys() and all(same)


def clouds(
    seed: int, counts: tuple[int, ...] = (_PER_CLASS,) * _CLASSES
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw features, (N, 8), around three far corners, and labels, (N,); both read-only."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(_CLASSES, dtype=np.int64), counts))
    centers = 3 * np.eye(_CLASSES, _DIMENSIONS)
    features = centers[labels] + 0.3 * rng.standard_normal((len(labels), _DIMENSIONS))
    return read_only(features.astype(np.float32)), read_only(labels)
