"""MoCo v2: momentum contrast."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbench.nn import (
    FeatureQueue,
    align_loss,
    ema_update,
    frozen_copy,
    in_groups,
    info_nce,
    mlp,
    send,
    uniform_loss,
)
from backbench.plugin import Progress, TrainingContext, TwoViewMethod
from backbench_ssl.method_options import MoCoOptions


class MoCo(TwoViewMethod):
    """Distinguish the key of an image's other view from a queue of keys of other images.

    Symbols as in the paper: encoders f_q and f_k, queries q, keys k, queue length K, momentum m.
    B images a batch, of which this process has b; embeddings have C dimensions.

    Source: Chen et al. 2020, MoCo v2; He et al. 2020, algorithm 1; Wang and Isola 2020 (alignment
        and uniformity); published code moco/main_moco.py: keys come from an average of the
        parameters, updated between the optimizer's step and the next keys; batch norms of the
        key encoder keep statistics of their own; keys are encoded in other groups than their
        queries.
    Differs: batch norm's groups are parts of a batch (``norm_groups``), on one GPU or several;
        nothing that moves a number.
    """

    def __init__(self, options: MoCoOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.options = options
        width = self.encoder.feature_dim
        self.f_q = nn.Sequential(self.encoder, mlp(width, options.hidden or width, options.dim))
        self.f_k = frozen_copy(self.f_q)
        self.queue = FeatureQueue(options.queue, options.dim)
        self._new_keys: Tensor | None = None

    def training_loss(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """Return the weighted sum of the contrastive, alignment and uniformity losses."""
        options, ranks = self.options, self.context.ranks
        x_q, x_k = views  # (b, 3, S, S) each
        q = embed(self.f_q, x_q, self.norm_groups)  # (b, C)
        with torch.no_grad():
            self._new_keys = self.encode_keys(x_k)  # (B, C)
        k = ranks.own(self._new_keys)  # (b, C)
        queue = self.queue.features  # (K, C)

        loss = q.new_zeros(())
        if options.contrast_weight:
            contrast = info_nce(q, k, queue, options.temperature)
            loss = loss + options.contrast_weight * contrast
        if options.align_weight:
            loss = loss + options.align_weight * align_loss(q, k, options.align_alpha)
        if options.uniform_weight:
            # As published, each GPU has a loss of its own: no mean of single images' losses.
            intra = options.uniform_intra_batch
            spread = [
                uniform_loss(part, queue, options.uniform_t, intra_batch=intra)
                for part in q.chunk(self.norm_groups)
            ]
            loss = loss + options.uniform_weight * torch.stack(spread).mean()
        return loss

    def after_step(self, progress: Progress) -> None:  # noqa: ARG002 - the same at each step
        """Move f_k by its momentum, and replace the oldest keys of the queue by the new ones."""
        ema_update(self.f_k, self.f_q, self.options.momentum)
        if self._new_keys is not None:
            self.queue.push(self._new_keys)

    def encode_keys(self, x_k: Tensor) -> Tensor:
        """Embed the keys of all processes, (B, C), in other batch-norm groups than their queries.

        The statistics of a group could otherwise reveal which key belongs to a query.
        """
        if self.options.norm_groups == 1:
            return embed(self.f_k, x_k, 1)
        ranks = self.context.ranks
        x = ranks.gather(x_k)  # (B, 3, S, S)
        shuffle = send(torch.randperm(len(x)), x.device)
        k = embed(self.f_k, ranks.own(x[shuffle]), self.norm_groups)  # (b, C), shuffled
        return ranks.gather(k)[shuffle.argsort()]


def embed(f: nn.Module, x: Tensor, groups: int) -> Tensor:
    """Map images to unit vectors, (b, C); batch norm sees equal parts of the batch apart."""
    return F.normalize(in_groups(f, x, groups).float(), dim=1)
