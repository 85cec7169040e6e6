"""Projection heads: the small networks on top of an encoder while it is trained."""

from __future__ import annotations

from torch import nn


def mlp(width_in: int, hidden: int, width_out: int, *, norm: bool = False) -> nn.Sequential:
    """Build Linear → ReLU → Linear, with biases; with ``norm`` BatchNorm before the ReLU.

    It maps (B, width_in) to (B, hidden) to (B, width_out).
    """
    middle: list[nn.Module] = [nn.BatchNorm1d(hidden)] if norm else []
    return nn.Sequential(
        nn.Linear(width_in, hidden), *middle, nn.ReLU(inplace=True), nn.Linear(hidden, width_out)
    )
