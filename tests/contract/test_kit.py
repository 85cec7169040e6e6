"""The conformance kit finds the problems that it is made for: each one here is caught by its test."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import backbench
from backbench.data.embedded import Embedded
from backbench.images import ArrayImages, Overlay
from backbench.plugin import Attack, Box, Defense, Evaluator, ImageEvaluator, Options, Stamp
from backbench.testing import (
    AttackContract,
    DatasetContract,
    DefenseContract,
    EvaluatorContract,
    ImageEvaluatorContract,
    MetricContract,
    SSLMethodContract,
)
from backbench.testing.base import installed


def caught(contract, bad, test, *given, **options):
    """Say whether a contract's test fails for an implementation, and for no other reason."""

    class Contract(contract):
        info = installed().find(KINDS[contract], NAMES[contract]).info

        def implementation(self):
            return bad

    Contract.options = options or OPTIONS[contract]
    try:
        getattr(Contract(), test)(*given)
    except AssertionError:
        return True
    return False


KINDS = {
    AttackContract: "attack",
    DatasetContract: "dataset",
    DefenseContract: "defense",
    EvaluatorContract: "evaluator",
    ImageEvaluatorContract: "evaluator",
    SSLMethodContract: "ssl-method",
}
NAMES = {
    AttackContract: "patch",
    DatasetContract: "embedded",
    DefenseContract: "distill",
    EvaluatorContract: "knn",
    ImageEvaluatorContract: "linear-augmented",
    SSLMethodContract: "rotnet",
}
TRAINING = {
    "epochs": 1,
    "batch_size": 8,
    "schedule": {"name": "constant", "milestones": [], "warmup_steps": 0},
}
OPTIONS = {
    AttackContract: {"target": "bee"},
    DatasetContract: {"classes": 2, "size": 16, "train_per_class": 3, "val_per_class": 2},
    DefenseContract: TRAINING | {"queue": 8},
    EvaluatorContract: {"k": 3},
    ImageEvaluatorContract: {"epochs": 1},
    SSLMethodContract: TRAINING | {"backbone": {"name": "tiny-resnet", "widths": [4, 4, 4]}},
}


class Fine(Attack):
    target = 0

    def choose(self, labels, rng):
        return rng.permutation(len(labels))[:3]

    def stamp(self, image, rng, split):
        pixels = image.copy()
        pixels[2:6, 3:6] = rng.integers(256)
        return Stamp(pixels, Box(3, 2, 3, 4), 1.0)


ATTACK_TESTS = [name for name in dir(AttackContract) if name.startswith(("test_cho", "test_sta"))]
ATTACK_TESTS += ["test_boxes_lie_on_the_image", "test_labels_are_not_changed"]


@pytest.mark.parametrize("test", ATTACK_TESTS)
def test_a_right_attack_passes(test):
    assert not caught(AttackContract, Fine, test)


class InPlace(Fine):
    def stamp(self, image, rng, split):
        image[2:6, 3:6] = 0
        return Stamp(image, Box(3, 2, 3, 4), 1.0)


class Smaller(Fine):
    def stamp(self, image, rng, split):
        return Stamp(image[:4], Box(0, 0, 1, 1), 1.0)


class Floats(Fine):
    def stamp(self, image, rng, split):
        return Stamp(image / 2, Box(0, 0, 1, 1), 1.0)


class Outside(Fine):
    def stamp(self, image, rng, split):
        return super().stamp(image, rng, split)._replace(box=Box(3, 2, 4, 3))


class OffTheImage(Fine):
    def stamp(self, image, rng, split):
        return super().stamp(image, rng, split)._replace(box=Box(3, 2, 30, 4))


class SecondOffTheImage(Fine):
    def stamp(self, image, rng, split):
        return super().stamp(image, rng, split)._replace(others=(Box(-1, 2, 3, 4),))


class Nothing(Fine):
    def stamp(self, image, rng, split):
        return Stamp(image.copy(), Box(0, 0, 1, 1), 1.0)


class Remembers(Fine):
    calls = 0

    def stamp(self, image, rng, split):
        type(self).calls += 1
        return super().stamp(image, np.random.default_rng(self.calls), split)


class GlobalStamp(Fine):
    def stamp(self, image, rng, split):
        np.random.rand()  # noqa: NPY002
        return super().stamp(image, rng, split)


class GlobalChoice(Fine):
    def choose(self, labels, rng):
        return np.random.permutation(len(labels))[:3]  # noqa: NPY002


class Relabels(Fine):
    def choose(self, labels, rng):
        labels[:] = 0
        return super().choose(labels, rng)


class Twice(Fine):
    def choose(self, labels, rng):
        return np.array([1, 1])


class TooFar(Fine):
    def choose(self, labels, rng):
        return np.array([len(labels)])


class NoClass(Fine):
    target = 17


@pytest.mark.parametrize(
    ("bad", "test"),
    [
        (InPlace, "test_stamp_does_not_change_its_input"),
        (Smaller, "test_stamp_keeps_shape_and_dtype"),
        (Floats, "test_stamp_keeps_shape_and_dtype"),
        (Outside, "test_stamp_changes_the_image_inside_its_boxes_only"),
        (OffTheImage, "test_boxes_lie_on_the_image"),
        (SecondOffTheImage, "test_boxes_lie_on_the_image"),
        (Nothing, "test_stamp_shows"),
        (Remembers, "test_stamp_depends_on_image_generator_and_split_alone"),
        (GlobalStamp, "test_stamp_depends_on_image_generator_and_split_alone"),
        (GlobalChoice, "test_choice_depends_on_the_generator_alone"),
        (Relabels, "test_labels_are_not_changed"),
        (Twice, "test_choice_is_distinct_and_in_range"),
        (TooFar, "test_choice_is_distinct_and_in_range"),
        (NoClass, "test_target_is_a_class_or_none"),
        (Attack, "test_target_is_a_class_of_its_kind"),
        (Evaluator, "test_target_is_a_class_of_its_kind"),
    ],
)
def test_a_wrong_attack_is_caught(bad, test):
    assert caught(AttackContract, bad, test)


class Centroids(Evaluator):
    def fit(self, features, labels, classes):
        self.centers = np.full((classes, features.shape[1]), 100.0)
        for label in np.unique(labels):
            self.centers[label] = features[labels == label].mean(axis=0)

    def predict(self, features):
        return -np.square(features[:, None] - self.centers).sum(axis=2)


class OneColumn(Centroids):
    def predict(self, features):
        return super().predict(features).argmax(axis=1)


class SeenOnly(Centroids):
    def fit(self, features, labels, classes):
        super().fit(features, labels, labels.max() + 1)


class Scales(Centroids):
    def predict(self, features):
        features -= features.mean(axis=0)
        return super().predict(features)


class Centers(Centroids):
    def predict(self, features):
        return super().predict(features - features.mean(axis=0))


class Guesses(Centroids):
    def predict(self, features):
        return np.random.rand(len(features), len(self.centers))  # noqa: NPY002


class Divides(Centroids):
    def predict(self, features):
        with np.errstate(all="ignore"):
            return super().predict(features / np.linalg.norm(features, axis=1, keepdims=True))


class Kept(Centroids):
    def state(self):
        return {"centers": self.centers}

    def restore(self, state):
        if set(state) != {"centers"}:
            raise ValueError("not centers")
        self.centers = state["centers"]


class Mixes(Kept):
    def restore(self, state):
        super().restore(state)
        self.centers = self.centers[::-1]


class Infinite(Kept):
    def state(self):
        return {"centers": self.centers / 0.0}


class TakesAnything(Kept):
    def restore(self, state):
        self.centers = state.get("centers")


def test_a_wrong_classifier_is_caught():
    test = "test_a_restored_classifier_scores_as_before"
    assert not caught(EvaluatorContract, Kept, test)
    assert caught(EvaluatorContract, Mixes, test)
    with np.errstate(all="ignore"):
        assert caught(EvaluatorContract, Infinite, test)
    assert caught(EvaluatorContract, TakesAnything, test)


@pytest.mark.parametrize(
    ("bad", "test"),
    [
        (OneColumn, "test_scores_have_a_column_for_each_class"),
        (SeenOnly, "test_a_class_without_images_has_a_column_too"),
        (Scales, "test_its_input_is_not_changed"),
        (Centers, "test_an_image_is_scored_whatever_its_company"),
        (Divides, "test_an_image_without_features_is_scored"),
        (Guesses, "test_separable_features_are_learned"),
        (Guesses, "test_scores_depend_on_features_and_seed_alone"),
        (Guesses, "test_global_generators_are_untouched"),
    ],
)
def test_a_wrong_evaluator_is_caught(bad, test):
    assert not caught(EvaluatorContract, Centroids, test)
    assert caught(EvaluatorContract, bad, test)


class Colors(ImageEvaluator):
    """The nearest mean color."""

    def fit(self, encoder, images):
        self.centers = np.full((self.context.classes, 3), 1000.0)
        for label in np.unique(images.labels):
            self.centers[label] = images.pixels[images.labels == label].mean(axis=(0, 1, 2))

    def predict(self, encoder, images):
        means = np.stack([images.image(i).mean(axis=(0, 1)) for i in range(len(images))])
        return {"color": -np.square(means[:, None] - self.centers).sum(axis=2)}


class AllColors(Colors):
    def predict(self, encoder, images):
        means = np.stack([images.image(i).mean(axis=(0, 1)) for i in range(len(images))])
        means -= means.mean(axis=0) - self.centers[:3].mean(axis=0)
        return -np.square(means[:, None] - self.centers).sum(axis=2)


class Peeks(Colors):
    def predict(self, encoder, images):
        return np.eye(self.context.classes)[images.labels]


class Trains(Colors):
    def fit(self, encoder, images):
        super().fit(encoder, images)
        encoder.train()


class Brightens(Colors):
    def fit(self, encoder, images):
        images.pixels[:] = images.pixels // 2
        super().fit(encoder, images)


class TorchDraws(Colors):
    def fit(self, encoder, images):
        import torch

        super().fit(encoder, images)
        self.centers += torch.rand(1).item()


@pytest.mark.parametrize(
    ("bad", "test"),
    [
        (AllColors, "test_an_image_is_scored_whatever_its_company"),
        (Peeks, "test_colors_are_learned"),
        (Trains, "test_its_input_is_not_changed"),
        (Brightens, "test_its_input_is_not_changed"),
        (TorchDraws, "test_scores_depend_on_features_and_seed_alone"),
        (TorchDraws, "test_global_generators_are_untouched"),
        (Centroids, "test_target_is_a_class_of_its_kind"),
    ],
)
def test_a_wrong_evaluator_of_images_is_caught(bad, test):
    assert not caught(ImageEvaluatorContract, Colors, test)
    assert caught(ImageEvaluatorContract, bad, test)


class SameEncoder(Defense):
    def repair(self, encoder, context):
        return encoder


class Darkens(Defense):
    def repair(self, encoder, context):
        context.clean(1.0).images.pixels[:] //= 2
        return type(encoder)(encoder.spec)


class Freezes(Defense):
    def repair(self, encoder, context):
        import copy

        copied = copy.deepcopy(encoder)
        encoder.requires_grad_(requires_grad=False)
        return copied


class AnotherArchitecture(Defense):
    def repair(self, encoder, context):
        from dataclasses import replace

        return type(encoder)(replace(encoder.spec, image_size=16))


class Draws(Defense):
    def repair(self, encoder, context):
        return type(encoder)(encoder.spec)


@pytest.mark.parametrize(
    ("bad", "test"),
    [
        (SameEncoder, "test_its_input_is_not_changed"),
        (Darkens, "test_its_input_is_not_changed"),
        (Freezes, "test_its_input_is_not_changed"),
        (AnotherArchitecture, "test_result_is_what_the_record_says"),
        (Draws, "test_result_depends_on_its_input_and_the_seed_alone"),
        (Draws, "test_global_generators_are_untouched"),
    ],
)
def test_a_wrong_defense_is_caught(bad, test):
    assert caught(DefenseContract, bad, test)


class Darker(Embedded):
    def load(self, split, *, verify=True):
        images = super().load(split)
        return Overlay(images, {0: images.image(0) // 2}) if verify else images


class FewerThanAnnounced(Embedded):
    def load(self, split, *, verify=True):
        images = super().load(split)
        return ArrayImages(images.pixels[1:], images.labels[1:], images.sources[1:])


class FromOne(Embedded):
    def load(self, split, *, verify=True):
        images = super().load(split)
        return ArrayImages(images.pixels, images.labels + 1, images.sources)


class SameNames(Embedded):
    def load(self, split, *, verify=True):
        images = super().load(split)
        return ArrayImages(images.pixels, images.labels, [split] * len(images))


class ByObject(Embedded):
    def fingerprint(self, hash_file):
        return repr(self)


@pytest.mark.parametrize(
    ("bad", "test"),
    [
        (Darker, "test_loading_again_gives_the_same"),
        (FewerThanAnnounced, "test_metadata_are_what_is_loaded"),
        (FromOne, "test_labels_are_classes"),
        (SameNames, "test_sources_name_one_image_each"),
        (ByObject, "test_fingerprint_is_stable"),
    ],
)
def test_a_wrong_data_set_is_caught(bad, test):
    assert not caught(DatasetContract, Embedded, test)
    assert caught(DatasetContract, bad, test)


def wrong_methods():
    import torch

    from backbench_ssl.rotnet import RotNet

    noise = torch.Generator().manual_seed(0)

    class Fixed(RotNet):
        def training_loss(self, views):
            return 0 * super().training_loss(views) + 1

    class Forgets(RotNet):
        def param_groups(self):
            return [{"params": list(self.encoder.parameters())}]

    class Fresh(RotNet):
        def views(self, batch):
            return super().views(batch) + torch.rand(1, generator=noise)

    return {"Fixed": Fixed, "Forgets": Forgets, "Fresh": Fresh}


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("Fixed", "test_loss_falls_on_one_batch"),
        ("Forgets", "test_every_parameter_has_one_group"),
        ("Fresh", "test_views_depend_on_the_batch_alone"),
        ("Fresh", "test_weights_depend_on_the_seed_alone"),
    ],
)
def test_a_wrong_method_is_caught(name, test):
    assert caught(SSLMethodContract, wrong_methods()[name], test)


class Silent(Options):
    loud: int = 1


def test_a_step_that_fails_is_one_failure_and_the_rest_is_skipped():
    class Raises(Fine):
        def stamp(self, image, rng, split):
            raise KeyError("trigger.png")

    class Contract(AttackContract):
        info = installed().find("attack", "patch").info
        options = OPTIONS[AttackContract]

        def implementation(self):
            return Raises

    with pytest.raises(AssertionError, match="stamp must not raise KeyError"):
        Contract().test_stamp_shows()
    for test in (Contract.test_stamp_shows, Contract.test_boxes_lie_on_the_image):
        with pytest.raises(pytest.skip.Exception, match="stamp has failed in another test"):
            test(Contract())
    Contract().test_choice_is_distinct_and_in_range()


def test_every_assertion_of_the_kit_is_a_sentence():
    for path in (Path(backbench.__path__[0]) / "testing").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                assert node.msg is not None, f"{path.name}:{node.lineno}"


def test_an_option_without_a_description_is_caught():
    from dataclasses import replace

    class Contract(AttackContract):
        info = replace(installed().find("attack", "patch").info, options=Silent)

    with pytest.raises(AssertionError, match="loud"):
        Contract().test_every_option_has_a_description()


def test_pytest_is_imported_by_the_kit_alone():
    root = Path(backbench.__path__[0])
    kit = root / "testing"
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")]
            for name in [*names, getattr(node, "module", None) or ""]:
                if name.startswith(("pytest", "_pytest", "backbench.testing")):
                    assert path.is_relative_to(kit), f"{path} imports {name}"


# -- metrics ----------------------------------------------------------------------------------


def not_a_number(*_):
    return float("nan")


def changes_what_it_is_given(labels, *_):
    labels[0] = 1
    return 0.0


def says_yes(*_):
    return True


def leaves_its_bounds(*_):
    return 1.5


def draws(*_):
    return np.random.random()  # noqa: NPY002 - what is caught


@pytest.mark.parametrize(
    ("bad", "test"),
    [
        (not_a_number, "test_gives_a_finite_number_or_nothing"),
        (changes_what_it_is_given, "test_gives_a_finite_number_or_nothing"),
        (says_yes, "test_gives_a_finite_number_or_nothing"),
        (leaves_its_bounds, "test_gives_a_finite_number_or_nothing"),
        (draws, "test_is_a_pure_function"),
    ],
)
def test_a_wrong_metric_is_caught(bad, test):
    class Contract(MetricContract):
        info = installed().find("metric", "flip-rate").info

        def function(self):
            return bad

    with pytest.raises(AssertionError):
        getattr(Contract(), test)(attacked=True, target=1)
