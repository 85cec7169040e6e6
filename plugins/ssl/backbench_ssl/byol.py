"""BYOL: bootstrap your own latent."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from backbench.nn import (
    Batch,
    Progress,
    SSLMethod,
    TrainingContext,
    cosine_regression,
    ema_update,
    frozen_copy,
    in_groups,
    mlp,
)
from backbench.views.views import random_view
from backbench_ssl.method_options import BYOLOptions


class BYOL(SSLMethod):
    """Predicts, from one view, what the target network makes of the other.

    Args:
        options: See :class:`BYOLOptions`.
        context: See :class:`~backbench.nn.SSLMethod`.

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
        self.online = nn.Sequential(
            self.encoder, mlp(width, options.hidden, options.dim, norm=True)
        )
        self.target = frozen_copy(self.online)
        self.predictor = mlp(options.dim, options.hidden, options.dim, norm=True)

    def views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return two views, each (B, 3, S, S)."""
        side, options = self.context.image_size, self.options.views
        return random_view(batch, options, side, 0), random_view(batch, options, side, 1)

    def training_loss(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """Return the sum of both regressions, in [0, 8]; every rank has the whole batch's."""
        first, second = views
        with torch.no_grad():
            first_target = self._project(self.target, first)
            second_target = self._project(self.target, second)
        return cosine_regression(
            self.predictor(self._project(self.online, first)), second_target
        ) + cosine_regression(self.predictor(self._project(self.online, second)), first_target)

    def after_step(self, progress: Progress) -> None:
        """Move the target network."""
        momentum = target_momentum(self.options.momentum, progress.epoch, progress.epochs)
        ema_update(self.target, self.online, momentum)

    def _project(self, network: nn.Sequential, images: Tensor) -> Tensor:
        """Encode a rank's slice in groups, and project the whole batch, (B, dim)."""
        encoder, projector = network
        features = in_groups(encoder, images, self.norm_groups)
        return cast("Tensor", projector(self.context.ranks.gather(features)))


def target_momentum(base: float, epoch: int, epochs: int) -> float:
    """Return the momentum of the target network in an epoch, from ``base`` towards 1.

    Source: Grill et al. 2020, section 3.3; published code byol/train.py, where it changes once
        an epoch.
    """
    return 1 - (1 - base) * (math.cos(math.pi * epoch / epochs) + 1) / 2
