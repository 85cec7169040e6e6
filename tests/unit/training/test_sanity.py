"""What stops a training, what flags it, and what does neither."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from backbench.errors import StageError
from backbench.images import ArrayImages
from backbench.nn import Batch, SSLMethod, TrainingContext
from backbench.nn.knn import knn_predict
from backbench.options.training import SSLOptions
from backbench.options.views import ViewOptions
from backbench.training import loop as training
from backbench.training.monitor import effective_rank, feature_spread, held_out_indices
from backbench.training.sanity import LEVEL, ROUNDING, above_chance, is_constant, training_flags
from backbench.views.views import random_view

# -- the effective rank ------------------------------------------------------------------------


@pytest.mark.parametrize("directions", [1, 2, 5])
def test_equal_directions_are_counted(directions: int) -> None:
    ends = np.eye(8, dtype=np.float32)[:directions]
    assert effective_rank(np.concatenate([ends, -ends])) == pytest.approx(directions)


def test_it_is_the_exponential_of_an_entropy() -> None:
    """Singular values 3 and 1: shares 3/4 and 1/4. Their own formula: 4 / 3 ** .75."""
    features = np.zeros((20, 6), dtype=np.float32)
    features[:9, 0], features[9:18, 0], features[18, 1], features[19, 1] = 1, -1, 1, -1
    assert effective_rank(features) == pytest.approx(4 / 3**0.75)


def test_lengths_and_the_mean_do_not_count() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 8)).astype(np.float32) + 3
    scaled = features * rng.uniform(1, 9, (50, 1)).astype(np.float32)
    assert effective_rank(scaled) == pytest.approx(effective_rank(features), rel=1e-5)
    assert 1 < effective_rank(features) <= 8


def test_a_point_has_one_direction_and_nothing_finite_none() -> None:
    assert effective_rank(np.ones((4, 16), dtype=np.float32)) == 1
    assert effective_rank(np.zeros((4, 3), dtype=np.float32)) == 1
    broken = np.full((4, 3), np.inf, dtype=np.float32)
    assert math.isnan(effective_rank(broken))
    assert math.isnan(feature_spread(broken))


# -- features that are constant but for rounding -------------------------------------------------


@pytest.mark.parametrize("dimensions", [16, 512])
def test_rounding_alone_is_constant(dimensions: int) -> None:
    """Equal features, each entry moved by at most as much as bf16 rounds it."""
    rng = np.random.default_rng(dimensions)
    feature = np.abs(rng.normal(size=dimensions))
    noise = rng.uniform(-1, 1, (128, dimensions)) * 2.0**-8
    rounded = (feature * (1 + noise)).astype(np.float32)
    assert is_constant(feature_spread(rounded), 128)
    assert not is_constant(feature_spread(np.abs(rounded + rng.normal(0, 0.1, rounded.shape))), 128)
    assert not is_constant(0.0, 1)


# -- the probe -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "chance"), [(500, 0.1), (500, 0.126), (200, 0.25), (500, 0.012), (120, 0.1)]
)
def test_the_bound_is_that_of_the_binomial_test(images: int, chance: float) -> None:
    least = above_chance(images, chance)
    assert least is not None
    assert binom.sf(least - 1, images, chance) <= LEVEL < binom.sf(least - 2, images, chance)


@pytest.mark.parametrize(
    ("images", "chance"), [(19, 0.3), (5, 0.2), (60, 0.1), (40, 0.9), (500, 1.0)]
)
def test_too_few_images_tell_nothing(images: int, chance: float) -> None:
    assert above_chance(images, chance) is None
    least = int(binom.isf(LEVEL, images, chance)) + 1
    assert chance == 1 or binom.cdf(least - 1, images, math.sqrt(chance)) > LEVEL


def ends(**values: float) -> list[dict[str, float]]:
    return [{"epoch": 0.0, "feature_spread": 0.5, "effective_rank": 30.0, **values}]


def test_random_labels_are_at_chance() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(2500, 8)).astype(np.float32)
    learnt = np.digitize(features[:, 0], [-0.7, 0, 0.7])
    for labels, names in ((rng.integers(0, 4, 2500), ["probe-at-chance"]), (learnt, [])):
        voted = knn_predict(features[500:], labels[500:], features[:500], 5)
        asked = labels[:500]
        history = ends(knn_accuracy=float((voted == asked).mean()))
        found = list(training_flags(history, asked))
        assert [flag.name for flag in found] == names
    hits = ends(knn_accuracy=0.25)
    (flag,) = training_flags(hits, np.arange(400) % 4)
    assert "100 of 400 held-out training images" in flag.sentence
    assert "below 121 chance explains it" in flag.sentence  # 100 + 2.33 deviations of 8.66, and ½
    assert "train longer" in flag.sentence


def test_a_training_without_epochs_or_labels_is_not_judged() -> None:
    assert not list(training_flags([], np.arange(500) % 2))
    assert not list(training_flags(ends(), np.arange(500) % 2))
    early = [{"epoch": 0.0, "feature_spread": 0.1, "effective_rank": 1.0, "knn_accuracy": 0.0}]
    assert not list(training_flags(early + ends(knn_accuracy=0.9), np.arange(500) % 2))


def test_features_on_a_line_are_flagged() -> None:
    angles = np.linspace(0, 0.5, 64)
    line = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = ends(effective_rank=effective_rank(line), feature_spread=feature_spread(line))
    assert not is_constant(found[0]["feature_spread"], 64)
    (flag,) = training_flags(found, np.arange(0))
    assert flag.name == "rank-collapse"
    assert "fewer than two directions (effective rank 1." in flag.sentence


# -- in a training -------------------------------------------------------------------------------


class ConstantOptions(SSLOptions):
    views: ViewOptions = ViewOptions(blur=0.0)
    begins: int = 0


class Constant(SSLMethod):
    """Its encoder is drawn to a constant, from some epoch on."""

    def __init__(self, options: ConstantOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.options = options

    def views(self, batch: Batch) -> Tensor:
        return random_view(batch, self.options.views, self.context.image_size, 0)

    def training_loss(self, views: Tensor) -> Tensor:
        return self.encoder(views).float().square().mean()

    def after_step(self, progress: Any) -> None:
        if progress.epoch >= self.options.begins:
            for parameter in self.encoder.parameters():
                torch.nn.init.zeros_(parameter)


def run(images: ArrayImages, **given: Any) -> list[dict[str, float]]:
    small = {
        "backbone": {"name": "tiny-resnet", "widths": (8, 8), "strides": (1, 2), "stem_width": 8},
        "epochs": 3,
        "batch_size": 16,
        "optimizer": {"lr": 0.01},
        "schedule": {"warmup_epochs": 1},
    }
    options = ConstantOptions.model_validate(small | given)
    return training.pretrain(Constant, training.TrainingRun(options, images, 0, "cpu"))[1]


def test_a_constant_encoder_stops_after_the_warm_up(small_images: ArrayImages) -> None:
    with pytest.raises(StageError, match=r"collapsed: after epoch 2 of 3 .* below 0\.01"):
        run(small_images)
    with pytest.raises(StageError, match="after epoch 3 of 3 the features of all images"):
        run(small_images, begins=2)
    history = run(small_images, begins=3)
    assert all(one["feature_spread"] > ROUNDING for one in history)
    assert all(one["effective_rank"] > 1 for one in history)


@pytest.mark.parametrize(
    ("spreads", "said"),
    [
        ((0.0, 0.5, 0.5), ""),  # in the warm-up
        ((0.5, 0.0, 0.5), "collapsed: after epoch 2 of 3"),
        ((math.nan, 0.5, 0.5), "not finite after epoch 1 of 3"),
    ],
)
def test_when_a_training_is_judged(
    small_images: ArrayImages,
    monkeypatch: pytest.MonkeyPatch,
    spreads: tuple[float, ...],
    said: str,
) -> None:
    class Scripted:
        def __init__(self, *_args: Any, **_named: Any) -> None:
            pass

        def __call__(self, _encoder: Any, epoch: int) -> Mapping[str, float]:
            return {"feature_spread": spreads[epoch]}

    monkeypatch.setattr(training, "Monitor", Scripted)
    if not said:
        assert len(run(small_images, begins=3)) == 3
        return
    with pytest.raises(StageError, match=said):
        run(small_images, begins=3)


def test_the_probe_asks_about_a_fifth() -> None:
    labels = np.zeros(60_000, np.int64)
    assert len(held_out_indices(labels[:60], 0)) == 12
    assert len(held_out_indices(labels, 0)) == 500
    assert len(set(held_out_indices(labels[:60], 0).tolist())) == 12


def test_the_probe_asks_about_no_added_poison() -> None:
    labels = np.concatenate([np.arange(50) % 2, np.full(10, -1)])
    assert len(held_out_indices(labels, 0)) == 10
    assert held_out_indices(labels, 0).max() < 50
    assert len(held_out_indices(np.full(60, -1), 0)) == 12
