"""Jigsaw against the published algorithm: tiles, slots, colors, networks, weight decay."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from backbench.nn import TrainingContext
from backbench.views.batches import UniformBatch
from backbench_ssl.jigsaw import Jigsaw, distant_permutations
from backbench_ssl.method_options import JigsawOptions

PLAIN = {"resize": 0, "grayscale": 0.0, "projection": 0.0}
TINY = {"name": "tiny-resnet", "widths": (8, 16), "strides": (2, 2), "stem_width": 8}


def build(**given: Any) -> Jigsaw:
    context = TrainingContext(images=64, image_size=224, steps_per_epoch=1, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Jigsaw(JigsawOptions.model_validate(given), context)


@pytest.fixture(scope="module")
def permutations() -> np.ndarray:
    return distant_permutations(2000)


@pytest.fixture(scope="module")
def published() -> Jigsaw:
    return build()


def test_slots(permutations: np.ndarray):
    """Pixels that know their place, cut from a square of 255: where did each tile come from?"""
    count, side = 64, 255
    places = np.zeros((count, side, side, 3), dtype=np.uint8)
    places[..., 0] = np.arange(side)[:, None]
    places[..., 1] = np.arange(side)
    batch = UniformBatch(torch.from_numpy(places), np.arange(count), epoch=0, seed=0)
    slots, chosen = build(**PLAIN, permutations=300, backbone=TINY).views(batch)
    assert len(slots) == 9
    offsets = np.zeros((count, 9, 2), dtype=int)
    for slot, tiles in enumerate(slots):
        assert tiles.shape == (count, 3, 64, 64)
        pixels = (tiles * 255).round().int().numpy()
        for image in range(count):
            top, left = pixels[image, :2, 0, 0]
            row, column = top // 85, left // 85
            source = 3 * row + column
            assert permutations[chosen[image], source] == slot
            # Nothing is resized: the rest follows from the corner.
            assert (pixels[image, 0] == top + np.arange(64)[:, None]).all()
            assert (pixels[image, 1] == left + np.arange(64)).all()
            offsets[image, source] = top - 85 * row, left - 85 * column
    assert offsets.min() == 0
    assert offsets.max() == 20
    assert (np.bincount(offsets.ravel(), minlength=21) > 0).all()
    drawn = offsets.reshape(count, -1).T
    assert np.abs(np.corrcoef(drawn) - np.eye(18)).max() < 0.5  # each offset is a draw of its own


def test_targets_are_all_permutations_alike(permutations: np.ndarray):
    assert permutations.shape == (2000, 9)
    assert (np.sort(permutations, axis=1) == np.arange(9)).all()
    assert len(np.unique(permutations, axis=0)) == 2000
    assert not (permutations == np.arange(9)).all(axis=1).any()
    pixels = torch.zeros(4096, 30, 30, 3, dtype=torch.uint8)
    task = build(**PLAIN, cell=10, tile=8, jitter=2, backbone=TINY)
    chosen = [
        task.views(UniformBatch(pixels, np.arange(4096), epoch=epoch, seed=0))[1]
        for epoch in range(2)
    ]
    assert not torch.equal(chosen[0], chosen[1])  # not the same in every epoch
    counts = np.bincount(torch.cat(chosen), minlength=2000)
    assert len(counts) == 2000
    expected = 2 * 4096 / 2000
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - 1999) < 5 * math.sqrt(2 * 1999)


def test_distances_of_permutations(permutations: np.ndarray):
    """The published set: mean 8.004, least 2, greatest 9; ours has the same mean and greatest."""
    same = np.zeros((2000, 2000), dtype=int)
    for place in range(9):
        same += permutations[:, None, place] == permutations[None, :, place]
    distances = 9 - same[np.triu_indices(2000, 1)]
    assert distances.mean() == pytest.approx(8.004, abs=5e-4)
    assert distances.max() == 9
    assert distances.min() >= 2


def test_colors():
    """Half gray, a quarter projected on two colors, a quarter as they are."""
    count = 2000
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 1, 1, 3), dtype=np.uint8).repeat(30, 1).repeat(30, 2)
    task = build(resize=0, cell=10, tile=8, jitter=2, permutations=9, backbone=TINY)
    batch = UniformBatch(torch.from_numpy(pixels), np.arange(count), epoch=0, seed=0)
    slots, _ = task.views(batch)
    found = {"gray": 0, "projected": 0, "colored": 0}
    for image in range(count):
        red, green, blue = pixels[image, 0, 0] / 255
        expected = {
            "gray": [0.299 * red + 0.587 * green + 0.114 * blue] * 3,
            "projected": [
                5 / 6 * red + 1 / 3 * green - 1 / 6 * blue,
                1 / 3 * red + 1 / 3 * green + 1 / 3 * blue,
                -1 / 6 * red + 1 / 3 * green + 5 / 6 * blue,
            ],
            "colored": [red, green, blue],
        }
        values = slots[4][image, :, 3, 3].numpy()
        errors = {name: np.abs(values - known).max() for name, known in expected.items()}
        kind = min(errors, key=errors.__getitem__)
        assert errors[kind] < 2e-4  # torchvision's weights of gray have four digits
        found[kind] += 1
    assert found["gray"] / count == pytest.approx(0.5, abs=0.05)
    assert found["projected"] / count == pytest.approx(0.25, abs=0.05)


def test_batch_norm_sees_each_slot_apart():
    """Nine updates of the running statistics a step, slot after slot."""
    task = build(**PLAIN, cell=10, tile=8, jitter=2, permutations=50, backbone=TINY)
    norm = task.encoder.backbone.body.norm
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    weights = task.encoder.backbone.body.stem.weight.detach()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 30, 30, 3), dtype=np.uint8)
    views = task.views(UniformBatch(torch.from_numpy(pixels), np.arange(8), epoch=0, seed=0))
    untouched = copy.deepcopy(task.encoder)
    loss = task.training_loss(views)
    for slot in views[0]:
        normalized = (slot - task.encoder.mean) / task.encoder.std
        maps = F.conv2d(normalized, weights, stride=2, padding=1).double()
        values = maps.transpose(0, 1).flatten(1)
        mean = 0.9 * mean + 0.1 * values.mean(1)
        variance = 0.9 * variance + 0.1 * values.var(1, unbiased=True)
    assert norm.num_batches_tracked.item() == 9
    assert torch.allclose(norm.running_mean.double(), mean, rtol=1e-5, atol=1e-7)
    assert torch.allclose(norm.running_var.double(), variance, rtol=1e-5, atol=1e-7)

    # Features slot by slot, one linear layer, cross-entropy.
    with torch.no_grad():
        features = torch.cat([untouched(slot) for slot in views[0]], dim=1).double()
    layer = task.classifier
    scores = features @ layer.weight.double().T + layer.bias.double()
    losses = [
        (row.exp().sum().log() - row[label]).item()
        for row, label in zip(scores, views[1], strict=True)
    ]
    assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-6)


def test_parameter_count(published: Jigsaw):
    assert sum(parameter.numel() for parameter in published.parameters()) == 20_394_512
    assert tuple(published.classifier.weight.shape) == (2000, 9 * 512)


def test_weight_decay_by_name(published: Jigsaw):
    """Shortcuts' batch norms are called downsample.1: their weights are decayed, as published."""
    decayed, free = published.param_groups()
    assert (decayed["weight_decay"], free["weight_decay"]) == (1e-4, 0.0)
    names = {id(p): name for name, p in published.named_parameters()}
    kept = {names[id(p)].removeprefix("encoder.backbone.body.") for p in free["params"]}
    blocks = [f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)]
    norms = ["bn1"] + [f"{block}.bn{i}" for block in blocks for i in (1, 2)]
    shortcuts = [f"layer{stage}.0.downsample.1" for stage in (2, 3, 4)]
    expected = {f"{norm}.{part}" for norm in norms for part in ("weight", "bias")}
    expected |= {f"{shortcut}.bias" for shortcut in shortcuts} | {"classifier.bias"}
    assert kept == expected
    rest = {names[id(p)].removeprefix("encoder.backbone.body.") for p in decayed["params"]}
    assert {f"{shortcut}.weight" for shortcut in shortcuts} < rest


def test_first_weights_of_convolutions(published: Jigsaw):
    """Kaiming's normal distribution by the number of outputs."""
    weight: Tensor = published.encoder.backbone.body.layer3[1].conv1.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.01)
    stem: Tensor = published.encoder.backbone.body.conv1.weight
    assert stem.std().item() == pytest.approx(math.sqrt(2 / (64 * 49)), rel=0.03)
