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
    align_loss,
    ema_update,
    frozen_copy,
    in_groups,
    info_nce,
    mlp,
    send,
    uniform_loss,
)
from backbench.views.views import random_view
from backbench_ssl.method_options import MoCoOptions


class MoCo(SSLMethod):
    """Tells the key of an image's other view from a queue of other images' keys.

    Args:
        options: See :class:`MoCoOptions`.
        context: See :class:`~backbench.nn.SSLMethod`.

    Source: Chen et al. 2020, MoCo v2; Wang and Isola 2020 (alignment and uniformity); published
        code moco/main_moco.py: keys come from an average of the parameters, updated between the
        optimizer's step and the next keys; batch norms of the key encoder keep statistics of
        their own; keys are encoded in other groups than their queries.
    Differs: batch norm's groups are parts of a batch (``norm_groups``), on one GPU or several;
        nothing that moves a number.
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
        """Return the weighted losses of the first views against the second ones."""
        first, second = views
        queries = self._embed(self.query, first)
        with torch.no_grad():
            self._new_keys = keys = self._shuffled_keys(second)
        return self._loss(queries, self.context.ranks.own(keys))

    def after_step(self, progress: Progress) -> None:  # noqa: ARG002 - the same at each step
        """Move the key encoder, and put the new keys into the queue."""
        ema_update(self.key, self.query, self.options.momentum)
        if self._new_keys is not None:
            self.queue.push(self._new_keys)

    def _loss(self, queries: Tensor, keys: Tensor) -> Tensor:
        options, negatives = self.options, self.queue.features
        loss = queries.new_zeros(())
        if options.contrast_weight:
            contrast = info_nce(queries, keys, negatives, options.temperature)
            loss = loss + options.contrast_weight * contrast
        if options.align_weight:
            loss = loss + options.align_weight * align_loss(queries, keys, options.align_alpha)
        if options.uniform_weight:
            # Not the mean of one image's losses: as published, each GPU has its own.
            spread = [
                uniform_loss(
                    part, negatives, options.uniform_t, intra_batch=options.uniform_intra_batch
                )
                for part in queries.chunk(self.norm_groups)
            ]
            loss = loss + options.uniform_weight * torch.stack(spread).mean()
        return loss

    def _embed(self, network: nn.Module, images: Tensor) -> Tensor:
        return F.normalize(in_groups(network, images, self.norm_groups).float(), dim=1)

    def _shuffled_keys(self, images: Tensor) -> Tensor:
        """Embed the keys of all ranks in other groups than their queries.

        A group's statistics could otherwise tell which key is a query's own.

        Args:
            images: This rank's slice, (B / size, 3, S, S).

        Returns:
            (B, dim), in the order of the ranks and of their images.
        """
        if self.options.norm_groups == 1:
            return self._embed(self.key, images)
        ranks = self.context.ranks
        everyone = ranks.gather(images)
        order = send(torch.randperm(len(everyone)), images.device)
        shuffled = self._embed(self.key, ranks.own(everyone[order]))
        return ranks.gather(shuffled)[order.argsort()]
