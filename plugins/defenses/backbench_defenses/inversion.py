"""Inverted triggers: a mask and a pattern that are optimized on the input of an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

#: Largest absolute value of what arctanh is taken of.
_INSIDE = 1 - 1e-6


class Trigger(NamedTuple):
    """A mask, (S, S), and a pattern, (3, S, S), both in [0, 1]."""

    mask: Tensor
    pattern: Tensor

    def detached(self) -> Trigger:
        """Return the same without gradient."""
        return Trigger(self.mask.detach().clone(), self.pattern.detach().clone())


class TriggerParameters:
    """Numbers without bounds, to be optimized, of which tanh makes a trigger.

    They start where mask and pattern are uniform in [0, 1].
    """

    def __init__(self, side: int, seed: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(seed % 2**63)
        start = torch.rand(4, side, side, generator=generator)  # the mask, then the pattern
        numbers = torch.atanh((2 * start - 1) * _INSIDE).to(device)
        self.mask, self.pattern = (
            part.clone().requires_grad_() for part in (numbers[0], numbers[1:])
        )

    def trigger(self) -> Trigger:
        """Return the trigger, with gradient."""
        return Trigger((self.mask.tanh() + 1) / 2, (self.pattern.tanh() + 1) / 2)


def pasted(images: Tensor, trigger: Trigger) -> Tensor:
    """Return images, (B, 3, S, S), with the trigger: (1 - m) x + m p."""
    return (1 - trigger.mask) * images + trigger.mask * trigger.pattern


@dataclass
class AdaptiveWeight:
    """Weight of a trigger's size in a loss: it follows whether the trigger works.

    After so many successes in a row it is multiplied by a factor, after so many failures divided.

    Args:
        value: The weight.
        factor: What it is multiplied or divided by.
        patience: Number of outcomes in a row that change it.
        least: It never falls below.
    """

    value: float
    factor: float
    patience: int
    least: float = 0.0
    successes: int = 0
    failures: int = 0

    def note(self, *, success: bool) -> None:
        """Note an outcome."""
        self.successes = self.successes + 1 if success else 0
        self.failures = 0 if success else self.failures + 1
        if self.successes == self.patience:
            self.value, self.successes = self.value * self.factor, 0
        elif self.failures == self.patience:
            self.value, self.failures = max(self.least, self.value / self.factor), 0
