"""Exponential moving averages of weights."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def frozen_copy(module: Module) -> Module:
    """Copy a module; the copy's parameters take no gradient."""
    return copy.deepcopy(module).requires_grad_(requires_grad=False)


@torch.no_grad()
def ema_update(average: nn.Module, module: nn.Module, momentum: float) -> None:
    """Move the parameters of an average, a :func:`frozen_copy`, towards a module's.

    ``momentum`` is the share of the average that stays, in [0, 1]. Buffers stay as they are: batch
    norms of the average keep running statistics of their own.
    """
    torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - momentum)
