"""BYOL: bootstrap your own latent."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from backbench.nn import cosine_regression, ema_update, frozen_copy, in_groups, mlp
from backbench.plugin import Progress, TrainingContext, TwoViewMethod
from backbench_ssl.method_options import BYOLOptions


class BYOL(TwoViewMethod):
    """Predict, from one view, the projection of the other view by the target network.

    Symbols as in the paper: parameters θ of the online network and ξ of the target network;
    projections z, predictions q. B images a batch, of which this process has b; projections have
    C dimensions.

    Source: Grill et al. 2020; published code byol/train.py: both views have the same
        distribution, each goes through the networks on its own, the two losses are added, and
        the target's momentum changes once an epoch. The encoder runs on parts of the batch, on
        four GPUs; the heads see the whole batch, on the first.
    Differs: the encoder's groups are parts of a batch (``norm_groups``), on one GPU or several;
        nothing that moves a number.
    """

    def __init__(self, options: BYOLOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.options = options
        width = self.encoder.feature_dim
        projector = mlp(width, options.hidden, options.dim, norm=True)
        self.online = nn.Sequential(self.encoder, projector)
        self.target = frozen_copy(self.online)
        self.predictor = mlp(options.dim, options.hidden, options.dim, norm=True)

    def training_loss(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """Return the symmetric loss L + L̃ of the whole batch, in [0, 8], on every rank."""
        v1, v2 = views  # (b, 3, S, S) each
        with torch.no_grad():
            target1 = self.project(self.target, v1)  # z_ξ(v): (B, C)
            target2 = self.project(self.target, v2)  # z_ξ(v′): (B, C)
        q1 = self.predictor(self.project(self.online, v1))  # q_θ(z_θ(v)): (B, C)
        q2 = self.predictor(self.project(self.online, v2))  # q_θ(z_θ(v′)): (B, C)
        return cosine_regression(q1, target2) + cosine_regression(q2, target1)

    def after_step(self, progress: Progress) -> None:
        """Move the target network: ξ ← τ ξ + (1 − τ) θ."""
        tau = target_momentum(self.options.momentum, progress.epoch, progress.epochs)
        ema_update(self.target, self.online, tau)

    def project(self, network: nn.Sequential, v: Tensor) -> Tensor:
        """Encode a view in batch-norm groups, and project the whole batch: z = g(f(v)), (B, C)."""
        f, g = network
        y = in_groups(f, v, self.norm_groups)  # (b, D)
        return cast("Tensor", g(self.context.ranks.gather(y)))


def target_momentum(base: float, epoch: int, epochs: int) -> float:
    """Return the momentum τ of the target network in an epoch, from ``base`` towards 1.

    Source: Grill et al. 2020, section 3.3; published code byol/train.py, where it changes once
        an epoch.
    """
    return 1 - (1 - base) * (math.cos(math.pi * epoch / epochs) + 1) / 2
