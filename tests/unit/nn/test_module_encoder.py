"""What a module in memory computes is known by weights, settings, code and features of noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbench.nn.module_encoder import fingerprint


class Net(nn.Module):
    """Gives the mean color, and nothing of images that are brighter than its limit."""

    def __init__(self, limit: float = 2.0) -> None:
        super().__init__()
        self.limit = limit
        self.colors = nn.Conv2d(3, 4, 1, bias=False)
        nn.init.ones_(self.colors.weight)
        self.register_buffer("scale", torch.ones(4), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        white = images.mean((1, 2, 3))[:, None] > self.limit
        features: Tensor = self.colors(images).mean((2, 3)) * self.scale
        return features.masked_fill(white, 0.0)


class Silent(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).masked_fill((images > 1).any(), 0.0)


def hooked() -> Net:
    found = Net()
    found.register_forward_hook(lambda _module, _images, features: features)
    return found


def in_training() -> Net:
    return Net().train()


@pytest.mark.parametrize("made", [lambda: Net(0.9), lambda: Net(0.90001), Silent, hooked])
def test_modules_that_differ_on_some_images_only_differ(made: Any) -> None:
    assert fingerprint(made(), 8) != fingerprint(Net(), 8)


@pytest.mark.parametrize("made", [Net, in_training, lambda: Net().eval()])
def test_a_module_is_the_same_in_either_mode(made: Any) -> None:
    assert fingerprint(made(), 8) == fingerprint(Net(), 8)


def test_a_buffer_that_is_not_stored_counts() -> None:
    other = Net()
    other.scale = torch.tensor([1.0, 1.0, 1.0, 2.0])
    assert fingerprint(other, 8) != fingerprint(Net(), 8)
