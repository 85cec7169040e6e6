"""The kit catches a plugin that learns from the validation split all the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from backbench.plugin import Defense
from tests.contract.broken import attack, evaluator, image_evaluator, kit_of, repair, run


class Remembers:
    """What a class keeps from one stage of a worker to the next."""

    kept: tuple[float, ...] = ()

    @classmethod
    def keep(cls, array):
        Remembers.kept = (*Remembers.kept, float(np.asarray(array, np.float64).sum()))

    @classmethod
    def noise(cls):
        return sum(Remembers.kept) % 97


@pytest.fixture(autouse=True)
def _nothing_kept():
    Remembers.kept = ()


class Carries(evaluator.Right):
    def fit(self, features, labels, classes):
        super().fit(features, labels, classes)
        self.centers = self.centers + Remembers.noise()

    def predict(self, features):
        Remembers.keep(features)
        return super().predict(features)


class CarriesColors(image_evaluator.Right):
    def fit(self, encoder, images):
        super().fit(encoder, images)
        self.centers = self.centers + Remembers.noise()

    def predict(self, encoder, images):
        Remembers.keep(images.pixels)
        return super().predict(encoder, images)


class LooksIntoTheStore(Defense):
    """Goes from its checkpoint to the images of the evaluation."""

    def repair(self, encoder, context):
        import copy

        root = context.checkpoint.path.parent.parent
        found = next(root.glob("artifacts/*/val.safetensors"))
        mended = copy.deepcopy(encoder)
        with torch.no_grad():
            for parameter in mended.parameters():
                parameter.add_(float(load_file(found)["pixels"].mean()))
        return mended


class ChoosesByThem(attack.Right):
    def choose(self, labels, rng):
        return super().choose(np.roll(labels, 1), np.random.default_rng(int(Remembers.noise())))

    def stamp(self, image, rng, split):
        if split == "val":
            Remembers.keep(image)
        return super().stamp(image, rng, split)


@pytest.mark.parametrize(
    ("module", "wrong", "test"),
    [
        (evaluator, Carries, "test_nothing_is_learned_from_the_validation_split"),
        (image_evaluator, CarriesColors, "test_nothing_is_learned_from_the_validation_split"),
        (attack, ChoosesByThem, "test_poisons_do_not_follow_from_the_validation_split"),
        (repair, LooksIntoTheStore, "test_nothing_follows_from_the_validation_split"),
    ],
)
def test_what_follows_from_the_validation_split_is_caught(tmp_path, module, wrong, test):
    for name in ("right", "wrong"):
        (tmp_path / name).mkdir()
    run(kit_of(module, module.Right), test, tmp_path / "right")
    Remembers.kept = ()
    with pytest.raises(AssertionError):
        run(kit_of(module, wrong), test, tmp_path / "wrong")
