"""Projection heads: the small networks on top of an encoder while it is trained."""

from __future__ import annotations

from torch import nn


def mlp(width_in: int, hidden: int, width_out: int, *, norm: bool = False) -> nn.Sequential:
    """Build Linear → (BatchNorm) → ReLU → Linear, with biases, for inputs (B, width_in).

    Args:
        width_in: Features of the input.
        hidden: Features in between.
        width_out: Features of the output.
        norm: Normalize over the batch before the ReLU.
    """
    middle: list[nn.Module] = [nn.BatchNorm1d(hidden)] if norm else []
    return nn.Sequential(
        nn.Linear(width_in, hidden), *middle, nn.ReLU(inplace=True), nn.Linear(hidden, width_out)
    )
