"""RotNet against the published algorithm: the batch, its labels, the loss."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from backbench.nn import TrainingContext
from backbench.views.batches import UniformBatch
from backbench_ssl.method_options import RotNetOptions
from backbench_ssl.rotnet import RotNet

TINY = {"name": "tiny-resnet", "widths": (8, 16), "strides": (2, 2), "stem_width": 8}
UNTOUCHED = {"scale": (1, 1), "ratio": (1, 1), "flip": 0}


def build(**given: Any) -> RotNet:
    context = TrainingContext(images=64, image_size=32, steps_per_epoch=1, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return RotNet(RotNetOptions.model_validate({"backbone": TINY} | given), context)


def batch(count: int = 8) -> tuple[np.ndarray, UniformBatch]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return pixels, UniformBatch(torch.from_numpy(pixels), np.arange(count), epoch=0, seed=0)


def test_a_batch_holds_each_image_in_all_four_turns():
    """np.rot90, counter-clockwise: k = 0, 1, 2, 3."""
    pixels, images = batch()
    views = build(views=UNTOUCHED).views(images)
    assert views.shape == (32, 3, 32, 32)
    found = (views * 255).round().numpy().astype(np.uint8).transpose(0, 2, 3, 1)
    for k in range(4):
        for number in range(8):
            assert np.array_equal(found[8 * k + number], np.rot90(pixels[number], k))


def test_turns_come_after_crop_and_flip():
    _, images = batch()
    views = build(views={"flip": 0.5, "scale": (0.08, 1.0)}).views(images)
    for k in range(1, 4):
        for number in range(8):
            turned = np.rot90(views[number].permute(1, 2, 0).numpy(), k)
            assert np.array_equal(views[8 * k + number].permute(1, 2, 0).numpy(), turned)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_loss(groups: int):
    """Cross-entropy of 0, 1, 2, 3, the mean over four times the batch, in groups of images."""
    task = build(norm_groups=groups)
    views = task.views(batch()[1])
    untouched = copy.deepcopy(task.encoder)
    found = task.training_loss(views).item()
    losses = []
    share = 8 // groups
    for group in range(groups):
        rows = [8 * k + group * share + number for k in range(4) for number in range(share)]
        labels = [k for k in range(4) for _ in range(share)]
        with torch.no_grad():
            features = untouched(views[rows]).double()
        layer = task.classifier
        scores = features @ layer.weight.double().T + layer.bias.double()
        for row, label in zip(scores, labels, strict=True):
            losses.append((row.exp().sum().log() - row[label]).item())
    assert len(losses) == 32
    assert found == pytest.approx(sum(losses) / 32, rel=1e-6)


def test_running_statistics_move_once_a_step():
    task = build(norm_groups=2)
    task.training_loss(task.views(batch()[1]))
    assert task.encoder.backbone.body.norm.num_batches_tracked.item() == 1


def test_network_and_weight_decay():
    task = RotNet(
        RotNetOptions(), TrainingContext(images=128, image_size=224, steps_per_epoch=1, seed=0)
    )
    assert (task.classifier.in_features, task.classifier.out_features) == (512, 4)
    # torchvision's ResNet-18 with four classes.
    assert sum(parameter.numel() for parameter in task.parameters()) == 11_178_564
    (group,) = task.param_groups()
    assert group["weight_decay"] == 1e-4
