"""A small method on two views, for the contract of defenses that wrap a method."""

import torch.nn.functional as F
from torch import Tensor

from backbench.nn import mlp, nt_xent
from backbench.plugin import (
    BackboneOptions,
    ScheduleOptions,
    TrainingContext,
    TwoViewMethod,
    TwoViewOptions,
    ViewOptions,
)

#: Two epochs of batches of 8, and a tiny backbone.
OPTIONS = TwoViewOptions(
    epochs=2,
    batch_size=8,
    precision="fp32",
    schedule=ScheduleOptions(name="constant"),
    views=ViewOptions(size=16, blur=0.0),
    backbone=BackboneOptions(name="tiny-resnet", widths=(4, 8), strides=(2, 2), stem_width=4),
)


class TwoViews(TwoViewMethod):
    """Contrasts an image's two views with all other views of the batch."""

    def __init__(self, options: TwoViewOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.head = mlp(self.encoder.feature_dim, 16, 16)

    def training_loss(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """Return the contrastive loss, a scalar."""
        z1, z2 = (F.normalize(self.head(self.encoder(view)).float(), dim=1) for view in views)
        return nt_xent(z1, z2, 0.5)
