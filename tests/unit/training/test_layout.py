"""Networks whose gradients oneDNN would write past the end of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from backbench.training.device import to_device


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "layout"),
    [
        (4, 1, 2, torch.contiguous_format),
        (8, 1, 2, torch.channels_last),
        (4, 3, 2, torch.channels_last),
        (4, 1, 1, torch.channels_last),
    ],
)
def test_narrow_strided_shortcuts_get_channels_first(
    channels: int, kernel: int, stride: int, layout: torch.memory_format
) -> None:
    """Trained with channels last, the first of these corrupts memory without AVX-512."""
    shortcut = nn.Conv2d(channels, 8, kernel, stride)
    other = nn.Conv2d(8, 8, 3)
    network = to_device(nn.Sequential(shortcut, other), torch.device("cpu"))
    assert network[1].weight.is_contiguous(memory_format=layout)
