"""Base of the SSL methods that compare two random views of each image."""

from typing import cast

from torch import Tensor

from backbench.nn.batch import Batch
from backbench.nn.method import SSLMethod
from backbench.options.training import TwoViewOptions
from backbench.views.views import random_view


class TwoViewMethod(SSLMethod):
    """An SSL method on two random views of each image.

    Its options derive from :class:`~backbench.plugin.TwoViewOptions`.
    """

    def views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return both views of each image, (B, 3, S, S) each, float32 in [0, 1]."""
        side = self.context.image_size
        options = cast("TwoViewOptions", self.training_options).views
        return random_view(batch, options, side, 0), random_view(batch, options, side, 1)
