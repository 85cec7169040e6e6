"""Random views through which gradients flow back to the images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from backbench.nn import send
from backbench.views.color import linear_jitter
from backbench.views.resample import blur_matrices
from backbench.views.views import ViewParameters


def soft_view(images: Tensor, parameters: ViewParameters) -> Tensor:
    """Crop, flip, recolor and blur square images, (B, 3, S, S) in [0, 1], as drawn.

    :func:`backbench.plugin.random_view` makes the same views without gradients.

    Differs: a crop is resized bilinearly without antialiasing, and its filter also sees what lies
        around the crop; colors are always changed linearly.
    """
    side = images.shape[-1]
    top, left, tall, wide = send(parameters.boxes, images.device).to(images.dtype).unbind(1)
    mirrored = torch.where(send(parameters.flip, images.device), -1.0, 1.0)
    zero = torch.zeros_like(top)
    across = torch.stack([mirrored * wide / side, zero, (2 * left + wide) / side - 1], dim=1)
    down = torch.stack([zero, tall / side, (2 * top + tall) / side - 1], dim=1)
    grid = F.affine_grid(
        torch.stack([across, down], dim=1), list(images.shape), align_corners=False
    )
    views = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    views = linear_jitter(views.contiguous(), parameters.jitter)
    if not parameters.sigma.any():
        return views
    blurs = blur_matrices(send(parameters.sigma, images.device), side)[:, None]  # (B, 1, S, S)
    return blurs @ views @ blurs.transpose(2, 3)
