"""Fine-pruning against the paper's order of pruning, and what is left of the pruned channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from backbench.errors import StageError
from backbench.images import ArrayImages
from backbench.nn import Encoder, EncoderSpec, TrainingContext
from backbench.plugin import CleanImages, DefenseContext, Progress
from backbench_defenses.defense_options import FinePruneOptions
from backbench_defenses.fine_prune import FinePrune, FineTuning, last_norms, least_active
from tests.unit.conftest import make_small_images


@pytest.fixture
def small_images() -> ArrayImages:
    return make_small_images()


def encoder_of(**backbone: Any) -> Encoder:
    given = {"name": "tiny-resnet", "widths": [8, 12], "strides": [2, 2], "stem_width": 8}
    with torch.random.fork_rng():
        torch.manual_seed(7)
        spec = EncoderSpec(backbone or given, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        encoder = Encoder(spec)
        encoder(torch.rand(16, 3, 32, 32))
    return encoder.eval()


def options(**given: Any) -> FinePruneOptions:
    small = {"epochs": 2, "batch_size": 8, "clean_fraction": 1.0, "precision": "fp32"}
    return FinePruneOptions.model_validate(small | given)


def repaired(encoder: Encoder, images: ArrayImages, **given: Any) -> Encoder:
    context = DefenseContext(0, "cpu", lambda share: CleanImages(images, share), lambda *_: None)
    return FinePrune(options(**given)).repair(encoder, context)


def test_channels_are_pruned_in_the_order_of_their_mean_activation() -> None:
    features = np.random.default_rng(0).random((40, 10), dtype=np.float32)
    features[:, 3] = features[:, 7]  # among equals the first
    sums = [(sum(float(row[c]) for row in features), c) for c in range(10)]
    wanted = [channel for _, channel in sorted(sums)]
    assert least_active(features, 0.99).tolist() == wanted[:9]
    assert least_active(features, 0.29).tolist() == wanted[:2]
    assert least_active(features, 0.0).tolist() == []


def images_as_tensor(images: ArrayImages) -> torch.Tensor:
    return torch.from_numpy(images.pixels.copy()).permute(0, 3, 1, 2).float() / 255


def test_what_is_pruned_is_zero_for_every_image(small_images: ArrayImages) -> None:
    encoder, x = encoder_of(), images_as_tensor(small_images)
    mended = repaired(encoder, small_images, share=0.5)
    with torch.no_grad():
        before, after, unseen = encoder(x), mended(x), mended(torch.rand(8, 3, 32, 32))
    idle = sorted(range(12), key=lambda channel: float(before[:, channel].mean()))[:6]
    busy = [channel for channel in range(12) if channel not in idle]
    for found in (after, unseen):
        assert (found[:, idle] == 0).all()
    assert (after[:, busy].mean(0) > 0).all()


def test_only_pruning_keeps_the_other_features(small_images: ArrayImages) -> None:
    encoder, x = encoder_of(), images_as_tensor(small_images)
    mended = repaired(encoder, small_images, share=0.25, epochs=0)
    with torch.no_grad():
        before, after = encoder(x), mended(x)
    kept = after.abs().sum(0) > 0
    assert int(kept.sum()) == 9
    torch.testing.assert_close(after[:, kept], before[:, kept])


def test_the_loss_is_the_distance_from_what_is_left_of_the_teacher() -> None:
    encoder = encoder_of()
    context = TrainingContext(images=48, image_size=32, steps_per_epoch=6, seed=0)
    task = FineTuning(encoder, np.array([1, 4]), options(), context).train()
    x = torch.rand(8, 3, 32, 32)
    with torch.no_grad():
        wanted = encoder(x)
        wanted[:, [1, 4]] = 0
        found = task.encoder(x)
        loss = 2 - 2 * F.cosine_similarity(found, wanted, dim=1).mean()
    assert float(task.training_loss(x).detach()) == pytest.approx(float(loss), abs=1e-5)
    with torch.no_grad():
        task.norms[0].bias.fill_(1.0)
    task.after_step(Progress(0, 0, 12, 2))
    assert [float(task.norms[0].bias[channel].detach()) for channel in (0, 1, 4)] == [1, 0, 0]


@pytest.mark.parametrize(
    ("backbone", "names"),
    [
        ({}, ["backbone.body.blocks.1.norm2", "backbone.body.blocks.1.shortcut.1"]),
        ({"name": "resnet18", "stem": "cifar"}, ["backbone.body.layer4.1.bn2"]),
        ({"name": "resnet50"}, ["backbone.body.layer4.2.bn3"]),
    ],
)
def test_the_last_batch_norms_of_residual_networks_are_found(
    backbone: dict[str, str], names: list[str]
) -> None:
    if backbone:
        with torch.device("meta"):
            encoder = Encoder(EncoderSpec(dict(backbone), 32, (0.5,) * 3, (0.25,) * 3))
    else:
        encoder = encoder_of()
    found = {id(module): name for name, module in encoder.named_modules()}
    assert [found[id(norm)] for norm in last_norms(encoder)] == names


def test_a_network_without_batch_norms_is_refused() -> None:
    encoder = encoder_of()
    encoder.backbone.body = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3), torch.nn.ReLU())
    with pytest.raises(StageError, match="no batch norm behind a last convolution"):
        last_norms(encoder)
