"""Evaluators on features."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from backbench.model import StageKind
from backbench.plugin import Evaluator, EvaluatorInfo
from backbench.testing import EvaluatorContract
from backbench.testing.hygiene import run_once
from tests.contract.broken import broken


class Right(Evaluator):
    """The nearest mean feature; the means are stored."""

    def fit(self, features, labels, classes):
        self.centers = np.full((classes, features.shape[1]), 100.0)
        for label in np.unique(labels):
            self.centers[label] = features[labels == label].mean(axis=0)

    def predict(self, features):
        return -np.square(features[:, None] - self.centers).sum(axis=2)

    def state(self):
        return {"centers": self.centers}

    def restore(self, state):
        if set(state) != {"centers"}:
            raise ValueError("these arrays are no centers")
        self.centers = state["centers"]


class Kit(EvaluatorContract):
    __test__ = False
    info = EvaluatorInfo(name="centroids", summary="C.", target=f"{__name__}:Right")
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    with np.errstate(all="ignore"):
        run_once(folder, kit, StageKind.PREDICT, **kit.reads())


_COLUMNS = "test_scores_have_a_column_for_each_class"
_STATE = "test_a_restored_classifier_scores_as_before"
_ALONE, _COMPANY = (
    "test_scores_depend_on_features_and_seed_alone",
    "test_an_image_is_scored_whatever_its_company",
)
_SECOND = "test_a_second_set_of_the_same_size_is_scored_by_itself"
_ANOTHER = "test_another_lesson_is_learned"
_UNEQUAL = "test_classes_of_unequal_numbers_are_learned"
_SEPARABLE, _INPUT = "test_separable_features_are_learned", "test_its_input_is_not_changed"


@broken(_COLUMNS, "scores of shape .90,. for 90 images and 3 classes")
class PredictsClasses(Right):
    """It returns classes where scores are expected."""

    def predict(self, features):
        return super().predict(features).argmax(axis=1)


@broken(_COLUMNS, "not finite for 90 of 90")
class ScoresAreNoNumbers(Right):
    """Its scores are NaN."""

    def predict(self, features):
        return super().predict(features) * np.nan


@broken(_COLUMNS, "it must be real numbers")
class ScoresAreWords(Right):
    """It returns the names of classes."""

    def predict(self, features):
        return np.array([["ant", "bee", "cat"]] * len(features))


@broken(_COLUMNS, "a variant is called")
class VariantWithASpace(Right):
    """The name of its variant has a space."""

    def predict(self, features):
        return {"k = 1": super().predict(features)}


@broken(_COLUMNS, "scores of no variant")
class NoVariant(Right):
    """It returns no variant."""

    def predict(self, features):
        return {}


@broken("test_a_class_without_images_has_a_column_too")
class ColumnsOfSeenClasses(Right):
    """It has columns for the classes alone of which it has seen images."""

    def fit(self, features, labels, classes):
        super().fit(features, labels, labels.max() + 1)


@broken(_SEPARABLE)
class AlwaysTheFirst(Right):
    """It predicts one class, whatever the features are."""

    def predict(self, features):
        return np.tile(np.arange(len(self.centers), 0.0, -1.0), (len(features), 1))


@broken(_SEPARABLE)
class DistancesForScores(Right):
    """It gives the nearest class the lowest score."""

    def predict(self, features):
        return -super().predict(features)


@broken(_INPUT, "read-only")
class CentersInPlace(Right):
    """It writes to the features that it predicts from."""

    def predict(self, features):
        features -= features.mean(axis=0)
        return super().predict(features)


@broken(_INPUT, "read-only")
class NormalizesInPlace(Right):
    """It writes to the features that it learns from."""

    def fit(self, features, labels, classes):
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        super().fit(features, labels, classes)


@broken(_INPUT, "read-only")
class SortsLabels(Right):
    """It writes to the labels."""

    def fit(self, features, labels, classes):
        labels.sort()
        super().fit(features, labels, classes)


@broken(_COMPANY)
class CentersByCompany(Right):
    """It subtracts the mean of the images of a call."""

    def predict(self, features):
        return super().predict(features - features.mean(axis=0))


@broken(_COMPANY)
class AdaptsToItsFirstCall(Right):
    """It takes the mean of the images of its first call."""

    mean: Any = None

    def predict(self, features):
        if self.mean is None:
            self.mean = features.mean(axis=0)
        return super().predict(features - self.mean)


@broken(_ANOTHER)
class KeepsABankInTheClass(Right):
    """It looks for the nearest of all features that evaluators of its class have seen."""

    bank: Any = []  # noqa: RUF012 - what is caught
    restore = Evaluator.restore

    def fit(self, features, labels, classes):
        self.classes = classes
        self.bank.append((features, labels))

    def predict(self, features):
        known, labels = (np.concatenate(one) for one in zip(*self.bank, strict=True))
        distances = np.square(features[:, None] - known).sum(axis=2)
        return np.eye(self.classes)[labels[distances.argmin(axis=1)]]

    def state(self):
        return {}


@broken(_UNEQUAL)
class DividesByTheMeanNumber(Right):
    """It divides the sum of each class by the mean number of images of a class."""

    def fit(self, features, labels, classes):
        super().fit(features, labels, classes)
        for label, count in enumerate(np.bincount(labels)):
            self.centers[label] *= count * len(np.unique(labels)) / len(labels)


@broken(_UNEQUAL)
class LearnsTheFirstThousand(Right):
    """It learns from the first thousand features, to be fast."""

    def fit(self, features, labels, classes):
        super().fit(features[:1000], labels[:1000], classes)


@broken(_SECOND)
class KeepsScoresByNumber(Right):
    """It keeps its scores by the number of images."""

    def predict(self, features):
        kept = self.__dict__.setdefault("kept", {})
        if len(features) not in kept:
            kept[len(features)] = super().predict(features)
        return kept[len(features)]


@broken(_ALONE)
class MovesAtEachCall(Right):
    """It moves its centers at each prediction."""

    def predict(self, features):
        self.centers = self.centers + 1e-3
        return super().predict(features)


@broken(_ALONE)
class DrawsGlobally(Right):
    """It draws from NumPy's global generator."""

    def fit(self, features, labels, classes):
        super().fit(features, labels, classes)
        self.centers = self.centers + np.random.rand()  # noqa: NPY002 - what is caught


@broken(_ALONE)
class DependsOnTheTime(Right):
    """Its centers follow from the time."""

    def fit(self, features, labels, classes):
        super().fit(features, labels, classes)
        self.centers = self.centers * (1 + time.time() // 1000 % 7)


@broken("test_global_generators_are_untouched")
class SeedsGlobally(Right):
    """It seeds NumPy's global generator."""

    def fit(self, features, labels, classes):
        np.random.seed(self.seed)  # noqa: NPY002 - what is caught
        super().fit(features, labels, classes)


@broken("test_an_image_without_features_is_scored")
class DividesByLengths(Right):
    """It divides by the length of features, which may be 0."""

    def predict(self, features):
        with np.errstate(all="ignore"):
            return super().predict(features / np.linalg.norm(features, axis=1, keepdims=True))


@broken(_STATE)
class RestoresAnother(Right):
    """It restores its centers in another order."""

    def restore(self, state):
        super().restore(state)
        self.centers = self.centers[::-1]


@broken(_STATE)
class StoresTooLittle(Right):
    """It stores its centers in too few digits."""

    def state(self):
        return {"centers": self.centers.astype(np.int8)}


@broken(_STATE, "not finite: centers")
class StateIsInfinite(Right):
    """It stores numbers that are not finite."""

    def state(self):
        with np.errstate(all="ignore"):
            return {"centers": self.centers / 0.0}


@broken(_STATE, "gave as state a list")
class StateIsAList(Right):
    """It stores a list."""

    def state(self):
        return [self.centers]


@broken(_STATE, "the array 'names' of type <U3")
class StateOfWords(Right):
    """It stores words."""

    def state(self):
        return {"centers": self.centers, "names": np.array(["ant", "bee"])}


@broken(_STATE)
class TakesAnything(Right):
    """It restores whatever it is given."""

    def restore(self, state):
        self.centers = state.get("centers")


@broken(_STATE, "stores no classifier")
class CannotRestore(Right):
    """It stores a state that it cannot take."""

    restore = Evaluator.restore


@broken("test_a_selection_is_plain_values", "selection of the evaluator")
class SelectsArrays(Right):
    """It states its choice as an array."""

    def selection(self):
        return {"penalty": np.array([1.0])}


@broken("test_a_selection_is_plain_values", "selection of the evaluator")
class SelectsInfinity(Right):
    """It states a choice that is not finite."""

    def selection(self):
        return {"penalty": float("inf")}


@broken("test_nothing_is_learned_from_the_validation_split")
class LearnsFromQueries(Right):
    """It moves to where the images are that it predicts."""

    def predict(self, features):
        self.centers = self.centers - (features.mean(axis=0) > 0)
        return super().predict(features)


@broken("test_nothing_is_kept_between_cells")
class SeedsWithTheHashOfAWord(Right):
    """It adds noise whose seed is the hash of a word, which each process salts."""

    def predict(self, features):
        noise = np.random.default_rng(hash("noise") % 2**32).random()
        return super().predict(features) + noise


@broken("test_nothing_is_kept_between_cells")
class ReadsTheDate(Right):
    """Its scores follow from the date."""

    def predict(self, features):
        return super().predict(features) + datetime.now().toordinal()  # noqa: DTZ005
