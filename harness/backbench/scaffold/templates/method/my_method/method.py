"""The method. A stage imports this module when it needs it."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from backbench.nn import align_loss, in_groups, mlp, uniform_loss
from backbench.plugin import TrainingContext, TwoViewMethod
from torch import Tensor

from my_method import MyMethodOptions


class MyMethod(TwoViewMethod):
    """Aligns the two views of an image, and spreads the images over the sphere.

    The base class makes ``self.encoder`` and the views.
    """

    def __init__(
        self,
        options: MyMethodOptions,
        context: TrainingContext,
    ) -> None:
        super().__init__(options, context)
        self.options = options
        self.head = mlp(self.encoder.feature_dim, options.hidden, options.dim, norm=True)

    def training_loss(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of the whole batch, a scalar."""
        z1, z2 = (self.project(view) for view in views)
        unevenness = uniform_loss(z1, z2, intra_batch=False)
        return align_loss(z1, z2) + self.options.uniformity * unevenness

    def project(self, view: Tensor) -> Tensor:
        """Return the unit projections of a view of all images, (B, dim)."""
        features = in_groups(self.encoder, view, self.norm_groups)
        projected = cast("Tensor", self.head(self.context.ranks.gather(features)))
        return F.normalize(projected.float(), dim=1)
