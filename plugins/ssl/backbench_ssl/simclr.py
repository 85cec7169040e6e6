"""SimCLR: a simple framework for contrastive learning."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor

from backbench.nn import in_groups, mlp, nt_xent
from backbench.plugin import TrainingContext, TwoViewMethod
from backbench_ssl.method_options import SimCLROptions


class SimCLR(TwoViewMethod):
    """Distinguish an image's other view from both views of all other images of the batch.

    Symbols as in the paper: encoder f, projection head g, representations h = f(x̃), projections
    z = g(h), temperature τ. N images a batch, of which this process has n; projections have C
    dimensions.

    Source: Chen et al. 2020, algorithm 1; appendix B.9 for images of 32 pixels.
    Differs: the head has one batch norm, before its ReLU, as in the authors' code, and none
        behind its output; the optimizer is SGD where the paper has LARS for batches of 4,096.
    """

    def __init__(self, options: SimCLROptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.options = options
        width = self.encoder.feature_dim
        self.g = mlp(width, options.hidden or width, options.dim, norm=True)

    def training_loss(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of the whole batch, a scalar, on every rank."""
        z1, z2 = (self.project(x) for x in views)  # (N, C) each
        return nt_xent(z1, z2, self.options.temperature)

    def project(self, x: Tensor) -> Tensor:
        """Encode a view in batch-norm groups; return the unit projections of all images, (N, C)."""
        h = in_groups(self.encoder, x, self.norm_groups)  # (n, D)
        z = cast("Tensor", self.g(self.context.ranks.gather(h)))
        return F.normalize(z.float(), dim=1)
