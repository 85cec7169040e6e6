"""RotNet: predicting rotations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbench.nn import Batch, SSLMethod, TrainingContext, in_groups
from backbench.views.views import random_view
from backbench_ssl.method_options import RotNetOptions

#: Quarter turns.
ROTATIONS = 4


class RotNet(SSLMethod):
    """Says by how many quarter turns an image was rotated; all four are in each batch.

    Args:
        options: See :class:`RotNetOptions`.
        context: See :class:`~backbench.nn.SSLMethod`.

    Source: Gidaris, Singh and Komodakis 2018; published code rotnet/: turns are
        counter-clockwise, and made after the crop and the flip.
    Differs: inputs are ordered turn by turn, not image by image, which moves nothing.
    """

    def __init__(self, options: RotNetOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.options = options
        self.classifier = nn.Linear(self.encoder.feature_dim, ROTATIONS)

    def views(self, batch: Batch) -> Tensor:
        """Return each image in its four rotations, (4 B, 3, S, S), turn by turn."""
        images = random_view(batch, self.options.views, self.context.image_size, 0)
        return rotations(images)

    def training_loss(self, views: Tensor) -> Tensor:
        """Return the cross-entropy of the number of turns."""
        groups, images = self.norm_groups, len(views) // ROTATIONS // self.norm_groups
        # A group of batch norm holds all turns of its images.
        views = views.view(ROTATIONS, groups, images, *views.shape[1:]).transpose(0, 1)
        views = views.flatten(0, 2)
        turns = torch.arange(ROTATIONS, device=views.device)
        turns = turns.repeat_interleave(images).repeat(groups)
        scores = self.classifier(in_groups(self.encoder, views, groups))
        return F.cross_entropy(scores.float(), turns)


def rotations(images: Tensor) -> Tensor:
    """Rotate images by 0, 1, 2 and 3 quarter turns counter-clockwise.

    Args:
        images: (B, C, S, S).

    Returns:
        (4 B, C, S, S): first all that are not turned, then all that are turned once, ….
    """
    return torch.cat([images.rot90(turn, (2, 3)) for turn in range(ROTATIONS)])
