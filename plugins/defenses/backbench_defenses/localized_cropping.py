"""Localized cropping: the second view of an image lies near the first."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbench.nn import GuardedMethod, SSLMethod, send
from backbench.plugin import Batch, Defense, DefenseContext, TwoViewOptions, random_view
from backbench.views.boxes import Purpose
from backbench.views.views import draws_of, view_boxes
from backbench_defenses.defense_options import LocalizedCroppingOptions
from backbench_defenses.wrapping import two_views


class LocalizedCropping(Defense):
    """Crops both views of an image from about the same region, so that they share their object.

    A trigger then seldom is in one view while the other view shows only the reference.

    Symbols as in the paper: δ is the share of its sides by which the first crop is enlarged.

    Source: Zhang et al. 2024, CorruptEncoder, section on defenses; published code
        moco/loader_lc.py: the second view is a random resized crop within the first crop, enlarged
        by δ = .2 of its size on each side; the views change places at random.
    Differs: the region is rounded to whole pixels.
    """

    options: LocalizedCroppingOptions

    def guard(self, method: SSLMethod, context: DefenseContext) -> SSLMethod:  # noqa: ARG002
        """Return the method on near views; see :meth:`backbench.plugin.Defense.guard`."""
        return LocallyCropped(method, self.options.delta)


class LocallyCropped(GuardedMethod):
    """A method on two views that lie near each other; ``delta`` is δ."""

    def __init__(self, method: SSLMethod, delta: float) -> None:
        super().__init__(two_views(method))
        self.delta = delta

    def views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return both views of each image, (B, 3, S, S) each, in random order."""
        options: TwoViewOptions = self.method.training_options  # type: ignore[assignment]
        side = self.context.image_size
        region = enlarged(view_boxes(batch, options.views, 0), batch.sizes, self.delta)
        near = random_view(batch, options.views, side, 0)
        other = random_view(batch, options.views, side, 1, within=region)
        chance = draws_of(batch, 1).uniform(Purpose.PLUGIN, 1)[:, 0]
        swapped = send(chance < 0.5, near.device)[:, None, None, None]
        return torch.where(swapped, other, near), torch.where(swapped, near, other)


def enlarged(
    boxes: NDArray[np.float32], sizes: NDArray[np.int64], delta: float
) -> NDArray[np.float32]:
    """Enlarge crops on each side by a share of their size, as far as the images go.

    Args:
        boxes: Top, left, height, width in whole pixels, (B, 4).
        sizes: Height and width of each image, (B, 2).
        delta: The share, δ.

    Returns:
        Boxes in whole pixels, (B, 4), float32.
    """
    margin = np.rint(delta * boxes[:, 2:])
    low = np.maximum(boxes[:, :2] - margin, 0)
    high = np.minimum(boxes[:, :2] + boxes[:, 2:] + margin, sizes)
    return np.concatenate([low, high - low], axis=1).astype(np.float32)
