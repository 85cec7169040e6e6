"""The losses by which DRUPE keeps the features of triggered images among those of clean images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Epochs, from 0, before triggered images are trained at all; and before preservation begins.
WARM_UP: Final = 2
PRESERVED: Final = 5

#: Epoch from which on the weights of preservation follow the losses.
ADAPTED: Final = 20

#: First weights of the spread and of the distance, and the factor by which they grow.
SPREAD: Final = 0.1
DISTANCE: Final = 0.001
GROWTH: Final = 1.25

#: Losses L0, L1 and L2 at which the weights grow.
_HELD: Final = (-0.96, -0.9, -0.9)

#: Cosine of the references above which they are driven apart.
_ALIKE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the spread and of the distance, c and c1."""

    spread: float = SPREAD
    distance: float = DISTANCE

    def after(self, epoch: int, losses: Sequence[tuple[float, float, float]]) -> Weights:
        """Return the weights after an epoch, by L0, L1 and L2 of each of its steps.

        They grow while the backdoor and the utility hold in the mean, and shrink otherwise.
        """
        if epoch < ADAPTED:
            return self
        means = (sum(one) / len(losses) for one in zip(*losses, strict=True))
        held = all(loss < most for loss, most in zip(means, _HELD, strict=True))
        factor = GROWTH if held else GROWTH**-GROWTH
        return Weights(self.spread * factor, self.distance * factor)


class Features(NamedTuple):
    """Features of a step: of triggered and of clean images, (B, D), and of references, (R, D)."""

    triggered: Tensor
    clean: Tensor
    references: Tensor


def best_reference(features: Tensor, references: Tensor) -> Tensor:
    """Return the mean cosine of B features, (B, D), with the nearest of R references, (R, D)."""
    return _cosines(features, references).amax(dim=1).mean()


def reference_spread(features: Tensor, references: Tensor) -> Tensor:
    """Return the deviation, over R references, of the mean cosine of B features with each."""
    return _cosines(features, references).mean(dim=0).std(correction=0)


def mean_pair(features: Tensor) -> Tensor:
    """Return the mean cosine of all pairs of different features, (B, D); 0 of a single feature."""
    count = len(features)
    if count < 2:
        return features.new_zeros(())
    cosines = _cosines(features, features)
    return (cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1))


def sliced_wasserstein(first: Tensor, second: Tensor, drawn: Tensor) -> Tensor:
    """Return the sliced Wasserstein distance of order 2 of two equal numbers of features.

    Args:
        first: (B, D).
        second: (B, D).
        drawn: Unit vectors that the features are projected on, (P, D).
    """
    sorted_first, sorted_second = ((one @ drawn.T).sort(dim=0).values for one in (first, second))
    return (sorted_first - sorted_second).square().mean().sqrt()


def directions(count: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw unit vectors, (count, width), on the processor."""
    return F.normalize(torch.randn(count, width, generator=generator), dim=1)


def preserving_loss(
    losses: tuple[Tensor, Tensor, Tensor],
    features: Features,
    drawn: Tensor,
    epoch: int,
    weights: Weights,
) -> Tensor:
    """Return DRUPE's loss of a step.

    Args:
        losses: L0, and L1 and L2 times their weights.
        features: Features of the encoder that is changed.
        drawn: Directions for the distance, (P, D).
        epoch: Number of the epoch, from 0.
        weights: Weights of preservation in this epoch.
    """
    loss_0, loss_1, loss_2 = losses
    triggered, clean, references = features
    alike = mean_pair(references)
    if epoch < WARM_UP:
        return loss_1 + loss_2 + 0.5 * alike
    spread = reference_spread(triggered, references)
    loss = loss_0 + loss_1 + loss_2
    if epoch < PRESERVED:
        return loss + 2 * spread + torch.where(alike > _ALIKE, alike, torch.zeros_like(alike))
    scale = clean.detach().std(dim=0, correction=0).mean().clamp(min=torch.finfo(clean.dtype).tiny)
    distance = sliced_wasserstein(triggered, clean, drawn) / scale
    loss = loss + weights.spread * (spread + mean_pair(triggered))
    return loss + weights.distance * distance + 0.5 * spread


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    return F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
