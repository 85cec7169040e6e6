"""Fine-pruning: the features that clean images leave idle go, and the rest is trained on."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backbench.nn import cosine_regression, frozen_copy
from backbench.plugin import (
    Batch,
    Defense,
    DefenseContext,
    Encoder,
    Progress,
    StageError,
    TrainingContext,
    TrainingTask,
    count_of,
    extract,
    random_view,
)
from backbench_defenses.defense_options import FinePruneOptions
from backbench_defenses.repairing import repaired

#: Parts of the names of a residual block's shortcut.
_SHORTCUTS = ("shortcut", "downsample")


class FinePrune(Defense):
    """Prunes the channels of the last convolution that clean images activate least; fine-tunes.

    Source: Liu, Dolan-Gavitt and Garg 2018, Fine-Pruning, section 4: channels of the last
        convolutional layer in the order of their mean activation on clean images, then training on
        clean images.
    Differs: an encoder has no classifier and its clean images no labels, so that the number of
        pruned channels is an option, where the paper prunes until the accuracy falls; and it is
        trained to give clean images the features that it gave them before, without those that
        were pruned (2 − 2 cos). The activation of a channel is that of the feature after the last
        ReLU. A shortcut without weights of its own keeps what it passes on.
    """

    options: FinePruneOptions

    def repair(self, encoder: Encoder, context: DefenseContext) -> Encoder:
        """Return the pruned encoder, fine-tuned; see :meth:`backbench.plugin.Defense.repair`."""
        images = context.clean(self.options.clean_fraction).images
        features = extract(encoder, images, device=context.device)  # (N, D)
        pruned = least_active(features, self.options.share)

        def build(training: TrainingContext) -> FineTuning:
            return FineTuning(encoder, pruned, self.options, training)

        return repaired(build, self.options, images, encoder, context)


class FineTuning(TrainingTask):
    """Teach a pruned encoder what it knew of clean images; ``pruned`` are its channels, (P,)."""

    kept: Tensor

    def __init__(
        self,
        teacher: Encoder,
        pruned: NDArray[np.int64],
        options: FinePruneOptions,
        context: TrainingContext,
    ) -> None:
        super().__init__(options, context)
        self.options = options
        self.teacher = frozen_copy(teacher)
        self.encoder = copy.deepcopy(teacher)
        kept = torch.ones(teacher.feature_dim)
        kept[torch.from_numpy(pruned)] = 0
        self.register_buffer("kept", kept.to(teacher.mean.device))
        self.norms = last_norms(self.encoder)
        self.prune()

    def train(self, mode: bool = True) -> FineTuning:  # noqa: FBT001, FBT002 - torch's signature
        """Set the mode; the teacher's batch norms always use their running statistics."""
        super().train(mode)
        self.teacher.eval()
        return self

    def views(self, batch: Batch) -> Tensor:
        """Return one view, (B, 3, S, S)."""
        return random_view(batch, self.options.views, self.context.image_size, 0)

    def training_loss(self, views: Tensor) -> Tensor:
        """Return the distance of the features from the teacher's, without the pruned ones."""
        with torch.no_grad():
            wanted = self.teacher(views) * self.kept  # (B, D)
        return cosine_regression(self.encoder(views), wanted)

    def after_step(self, progress: Progress) -> None:  # noqa: ARG002 - the same at each step
        """Prune the channels again that the optimizer has moved."""
        self.prune()

    @torch.no_grad()
    def prune(self) -> None:
        """Set the pruned channels of the last batch norms to zero."""
        for norm in self.norms:
            norm.weight.mul_(self.kept)
            norm.bias.mul_(self.kept)


def least_active(features: NDArray[np.float32], share: float) -> NDArray[np.int64]:
    """Return the channels with the least mean over clean images, the least active first.

    Args:
        features: Of N clean images, (N, D).
        share: How many of the channels, in [0, 1); rounded down.

    Returns:
        Their indices, (share × D,); among equals the first.
    """
    order = np.argsort(features.mean(axis=0, dtype=np.float64), kind="stable")
    return order[: count_of(share, features.shape[1])]


def last_norms(encoder: Encoder) -> list[nn.BatchNorm2d]:
    """Return the batch norms whose sum, after a ReLU, is the last map of a residual network.

    They are the last one of the last block, and that of its shortcut, if it has one.

    Raises:
        StageError: If the encoder has none.
    """
    norms = {
        name: module
        for name, module in encoder.named_modules()
        if isinstance(module, nn.BatchNorm2d) and module.num_features == encoder.feature_dim
    }
    straight = [name for name in norms if not any(part in name for part in _SHORTCUTS)]
    if not straight:
        raise StageError("fine-prune: the encoder has no batch norm behind a last convolution")
    block = straight[-1].rpartition(".")[0]
    shortcut = [one for one in norms if one.startswith(f"{block}.") and one not in straight]
    return [norms[name] for name in (straight[-1], *shortcut)]
