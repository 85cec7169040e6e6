"""RotNet: predicting rotations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbench.nn import in_groups
from backbench.plugin import Batch, SSLMethod, TrainingContext, random_view
from backbench_ssl.method_options import RotNetOptions

#: Number of rotations, K: by 0°, 90°, 180° and 270°.
ROTATIONS = 4


class RotNet(SSLMethod):
    """Predict the rotation y of an image; all K = 4 rotations of each image are in a batch.

    Source: Gidaris, Singh and Komodakis 2018; published code rotnet/: turns are
        counter-clockwise, and made after the crop and the flip.
    Differs: inputs are ordered turn by turn, not image by image, which moves nothing.
    """

    def __init__(self, options: RotNetOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.options = options
        self.classifier = nn.Linear(self.encoder.feature_dim, ROTATIONS)

    def views(self, batch: Batch) -> Tensor:
        """Return the rotations of each image, (K b, 3, S, S), rotation by rotation."""
        x = random_view(batch, self.options.views, self.context.image_size, 0)  # (b, 3, S, S)
        return rotations(x)

    def training_loss(self, views: Tensor) -> Tensor:
        """Return the cross-entropy of the rotation."""
        groups = self.norm_groups
        images = len(views) // ROTATIONS // groups
        # A group of batch norm holds all rotations of its images: (K, G, n, …) → (G, K, n, …).
        x = views.view(ROTATIONS, groups, images, *views.shape[1:]).transpose(0, 1).flatten(0, 2)
        y = torch.arange(ROTATIONS, device=x.device).repeat_interleave(images).repeat(groups)
        scores = self.classifier(in_groups(self.encoder, x, groups))  # (K b, K)
        return F.cross_entropy(scores.float(), y)


def rotations(images: Tensor) -> Tensor:
    """Rotate images (B, C, S, S) by 0 to 3 quarter turns counter-clockwise, (K B, C, S, S)."""
    return torch.cat([images.rot90(turn, (2, 3)) for turn in range(ROTATIONS)])
