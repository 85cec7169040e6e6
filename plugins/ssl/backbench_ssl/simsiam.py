"""SimSiam: simple Siamese representation learning."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from backbench.nn import cosine_regression, in_groups, mlp
from backbench.plugin import TrainingContext, TwoViewMethod
from backbench_ssl.method_options import SimSiamOptions


class SimSiam(TwoViewMethod):
    """Predict, from one view, the projection of the other view, whose gradient is stopped.

    Symbols as in the paper: encoder f with its projection, predictor h, projections z = f(x),
    predictions p = h(z). N images a batch, of which this process has n; projections have C
    dimensions.

    Source: Chen and He 2021, algorithm 1 and section 3; appendix D for images of 32 pixels.
    Differs: the predictor's learning rate follows the schedule, as its encoder's; a constant rate
        gives .4 points more in the paper (table 1).
    """

    def __init__(self, options: SimSiamOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.options = options
        self.g = projection(self.encoder.feature_dim, options.dim, options.layers)
        self.h = mlp(options.dim, options.hidden, options.dim, norm=True)

    def training_loss(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """Return D(p₁, z₂)/2 + D(p₂, z₁)/2 of the whole batch, in [−1, 1], on every rank."""
        z1, z2 = (self.project(x) for x in views)  # (N, C) each
        p1, p2 = self.h(z1), self.h(z2)
        # Of 2 − 2 cos, a quarter of the sum is 1 + the paper's loss.
        loss = cosine_regression(p1, z2.detach()) + cosine_regression(p2, z1.detach())
        return loss / 4 - 1

    def project(self, x: Tensor) -> Tensor:
        """Encode a view in batch-norm groups, and project the whole batch, (N, C)."""
        y = in_groups(self.encoder, x, self.norm_groups)  # (n, D)
        return cast("Tensor", self.g(self.context.ranks.gather(y)))


def projection(width_in: int, width: int, layers: int) -> nn.Sequential:
    """Build the projection MLP: each layer with batch norm, and ReLU but behind the last.

    Source: Chen and He 2021, section 3: the linear layers have no bias before a batch norm; the
        last batch norm has no scale and shift.
    """
    hidden = [
        part
        for number in range(layers - 1)
        for part in (
            nn.Linear(width if number else width_in, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
        )
    ]
    last = nn.Linear(width, width, bias=False), nn.BatchNorm1d(width, affine=False)
    return nn.Sequential(*hidden, *last)
