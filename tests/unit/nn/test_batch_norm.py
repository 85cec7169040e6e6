"""Folded batch norms against the network as it is."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbench.images import ArrayImages
from backbench.nn import Backbone, Encoder, EncoderSpec
from backbench.nn.batch_norm import folded
from backbench.nn.cpu import has_bf16
from backbench.training.extraction import extract, for_evaluation

CPU = torch.device("cpu")
needs_timm = pytest.mark.skipif(not importlib.util.find_spec("timm"), reason="timm is optional")

TINY = {"name": "tiny-resnet", "widths": [8, 16], "strides": [1, 2], "stem_width": 8}
RESNET = {"name": "resnet18", "stem": "cifar"}
BOTTLENECKS = {"name": "resnet50", "stem": "imagenet"}
TIMM = {"name": "timm/resnet10t"}


def trained(backbone: dict[str, Any]) -> Encoder:
    """An encoder whose batch norms do something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        encoder = Encoder(EncoderSpec(backbone, 32, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)))
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.3, 0.3)
    return encoder.eval()


def norms(module: nn.Module) -> int:
    return sum(isinstance(one, nn.BatchNorm2d) for one in module.modules())


@pytest.fixture(scope="module")
def images() -> ArrayImages:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    return ArrayImages(pixels, np.zeros(12, dtype=np.int64), [""] * 12)


def error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(
    "backbone", [TINY, RESNET, BOTTLENECKS, pytest.param(TIMM, marks=needs_timm)]
)
def test_features_are_the_same(backbone: dict[str, Any], images: ArrayImages):
    encoder = trained(backbone)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    expected = extract(encoder, images, device="cpu", precision="fp32")
    fast = for_evaluation(encoder, "cpu", "fp32")
    assert norms(encoder) > 0
    assert norms(fast) == 0
    assert error(extract(fast, images, device="cpu", precision="fp32"), expected) < 1e-5
    if has_bf16():
        faster = for_evaluation(encoder, "cpu", "bf16")
        found = extract(faster, images, device="cpu", precision="bf16")
        assert error(found, expected) < 0.015  # bfloat16 keeps 8 bits; 53 layers round in turn
        assert next(faster.parameters()).dtype == torch.bfloat16
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_maps_of_the_stages_are_the_same(images: ArrayImages):
    samples = torch.tensor(images.pixels).permute(0, 3, 1, 2) / 255
    for backbone in (TINY, RESNET):
        encoder = trained(backbone)
        with torch.no_grad():
            both = encoder.stage_maps(samples), folded(encoder).stage_maps(samples)
        for expected, found in zip(*both, strict=True):
            assert error(found.numpy(), expected.numpy()) < 1e-5


class Odd(nn.Module):
    """A convolution whose output another layer reads too, one that is used twice, and a plain one."""

    def __init__(self, *, branches: bool) -> None:
        super().__init__()
        self.shared, self.after_shared = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.twice, self.after_twice = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.plain, self.after_plain = nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5)
        self.alone = nn.BatchNorm2d(5, track_running_stats=False)
        self.branches = branches

    def forward(self, samples: Tensor) -> Tensor:
        if self.branches and samples.mean() > 100:
            return samples.mean((2, 3))
        maps = self.shared(samples)
        maps = maps + self.after_shared(maps)
        maps = self.twice(F.relu(self.twice(maps)))
        maps = self.after_plain(self.plain(self.after_twice(maps)))
        return self.alone(maps).mean((2, 3))


@pytest.mark.parametrize("branches", [False, True])
def test_what_cannot_be_folded_stays(branches: bool, images: ArrayImages):
    encoder = trained(TINY)
    encoder.backbone = Backbone(Odd(branches=branches), 5).eval()
    for norm in (encoder.backbone.body.after_shared, encoder.backbone.body.after_plain):
        norm.running_mean.uniform_(-1, 1)
    fast = folded(encoder)
    assert norms(fast) == (4 if branches else 3)
    samples = torch.tensor(images.pixels).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        torch.testing.assert_close(fast(samples), encoder(samples), rtol=1e-4, atol=1e-5)
