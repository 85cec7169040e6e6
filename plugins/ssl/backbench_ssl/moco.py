"""MoCo v2: momentum contrast."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbench.nn import (
    Batch,
    FeatureQueue,
    Progress,
    SSLMethod,
    TrainingContext,
    ema_update,
    frozen_copy,
    info_nce,
    mlp,
)
from backbench.runtime.views import random_view
from backbench_ssl.options import MoCoOptions


class MoCo(SSLMethod):
    """Tells the key of a picture's other view from a queue of other pictures' keys.

    Args:
        options: See :class:`MoCoOptions`.
        context: See :class:`~backbench.nn.SSLMethod`.

    Source: Chen et al. 2020, MoCo v2; published code moco/main_moco.py: keys come from an
        average of the parameters, updated between the optimiser's step and the next keys; batch
        norms of the key encoder keep statistics of their own.
    Differs: batch norm's groups are parts of one batch (``norm_groups``) instead of GPUs, and
        all of them move the running statistics instead of the first alone; nothing known to
        move a number.
    """

    def __init__(self, options: MoCoOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.options = options
        width = self.encoder.feature_dim
        self.query = nn.Sequential(self.encoder, mlp(width, options.hidden or width, options.dim))
        self.key = frozen_copy(self.query)
        self.queue = FeatureQueue(options.queue, options.dim)
        self._new_keys: Tensor | None = None

    def views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return two views, each (B, 3, S, S)."""
        side, options = self.context.image_size, self.options.views
        return random_view(batch, options, side, 0), random_view(batch, options, side, 1)

    def training_loss(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """Return the contrastive loss of the first views against the second ones."""
        first, second = views
        queries = self._embed(self.query, first)
        with torch.no_grad():
            keys = self._shuffled_keys(second)
        self._new_keys = keys
        return info_nce(queries, keys, self.queue.features, self.options.temperature)

    def after_step(self, progress: Progress) -> None:  # noqa: ARG002 - the same at each step
        """Move the key encoder, and put the new keys into the queue."""
        ema_update(self.key, self.query, self.options.momentum)
        if self._new_keys is not None:
            self.queue.push(self._new_keys)

    def _embed(self, network: nn.Module, images: Tensor) -> Tensor:
        parts = [network(part) for part in images.chunk(self.options.norm_groups)]
        return F.normalize(torch.cat(parts).float(), dim=1)

    def _shuffled_keys(self, images: Tensor) -> Tensor:
        """Embed keys in other groups than their queries, so that no group gives them away."""
        if self.options.norm_groups == 1:
            return self._embed(self.key, images)
        order = torch.randperm(len(images)).to(images.device)
        return self._embed(self.key, images[order])[order.argsort()]
