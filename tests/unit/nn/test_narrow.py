"""Narrow networks, whose gradients oneDNN would write past the end of."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from backbench.nn.backbones import ResidualBlock


def test_the_projection_of_a_narrow_shortcut_is_a_strided_convolution() -> None:
    shortcut = ResidualBlock(4, 6, 2).shortcut
    maps = torch.randn(2, 4, 7, 8, generator=torch.Generator().manual_seed(0))
    wanted = F.conv2d(maps, shortcut[0].weight, stride=2)
    torch.testing.assert_close(shortcut[0](maps), wanted)


def test_gradients_of_a_narrow_shortcut_stay_in_their_memory() -> None:
    """With a strided convolution and channels last, this loop aborts without AVX-512."""
    shortcut = ResidualBlock(4, 4, 2).shortcut.to(memory_format=torch.channels_last)
    maps = torch.randn(16, 4, 16, 16).to(memory_format=torch.channels_last).requires_grad_()
    for _ in range(40):
        shortcut(maps).sum().backward()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()
