"""Base of the SSL methods that compare two random views of each image."""

from typing import cast

from torch import Tensor

from backbench.nn.batch import Batch
from backbench.nn.method import SSLMethod
from backbench.options.training import ViewTrainingOptions
from backbench.views.views import random_view


class TwoViewMethod(SSLMethod):
    """An SSL method on two random views of each image.

    Its options derive from :class:`~backbench.plugin.SSLOptions` and
    :class:`~backbench.plugin.ViewTrainingOptions`.
    """

    def views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return both views of each image, (B, 3, S, S) each, float32 in [0, 1]."""
        side = self.context.image_size
        options = cast("ViewTrainingOptions", self.training_options).views
        return random_view(batch, options, side, 0), random_view(batch, options, side, 1)
