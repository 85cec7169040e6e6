"""A small network that makes a trigger of its own for each image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Groups of the network's normalization, which sees each image apart.
_GROUPS = 4


class TriggerNetwork(nn.Module):
    """A U-Net of two levels, G: images (B, 3, H, W) in [0, 1] to images of the same size.

    Args:
        epsilon: Largest change that it can make, in [0, 1].
        width: Channels at full size, a multiple of 4; twice as many at half the size.

    Differs: the paper describes no network. This U-Net returns its input and a change within
        the bound, so that no gradient is lost to the clipping.
    """

    def __init__(self, epsilon: float, width: int) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.first = _block(3, width)
        self.down = _block(width, 2 * width, stride=2)
        self.middle = _block(2 * width, 2 * width)
        self.up = _block(3 * width, width)
        self.last = nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return G(x), before it is clipped."""
        near = self.first(2 * x - 1)
        far = self.middle(self.down(near))
        far = F.interpolate(far, size=near.shape[-2:], mode="nearest")
        change = self.last(self.up(torch.cat([near, far], dim=1)))
        return x + self.epsilon * torch.tanh(change)

    def triggered(self, x: Tensor) -> Tensor:
        """Return the images with their trigger, (B, 3, H, W)."""
        return clipped(self(x), x, self.epsilon)


def _block(width_in: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width, 3, stride, padding=1),
        nn.GroupNorm(_GROUPS, width),
        nn.ReLU(inplace=True),
    )


def clipped(made: Tensor, x: Tensor, epsilon: float) -> Tensor:
    """Clip made images to within epsilon of their originals, and to [0, 1]; all (B, 3, H, W).

    Source: published code attacker/agent.py of SSL-Backdoor's library: clip(G(x), x ± 8/255).
    """
    return torch.maximum(torch.minimum(made, x + epsilon), x - epsilon).clamp(0, 1)
