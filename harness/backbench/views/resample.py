"""Cropping, resizing and blurring of whole batches: two batched products with filter matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from backbench.nn.batch import Interpolation


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp_(min=0)


def _cubic(x: Tensor) -> Tensor:
    # Keys' kernel with a = -1/2, the one that Pillow uses.
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


#: Reach of each kernel, in pixels of the result where it enlarges.
SUPPORT: dict[Interpolation, int] = {"bilinear": 1, "bicubic": 2}

_KERNELS: dict[Interpolation, Callable[[Tensor], Tensor]] = {
    "bilinear": _triangle,
    "bicubic": _cubic,
}


class Axis(NamedTuple):
    """One axis of a crop of each of B images, and how it is resized.

    Args:
        start: First pixel of each crop, (B,), float32; need not be whole.
        length: Length of each crop in pixels, (B,), float32.
        size_in: Length of the image's axis.
        size_out: Length of the result's axis.
        interpolation: Kernel; it is widened where the image shrinks (antialiasing).
        isolated: Whether the kernel sees the crop only (crop, then resize); otherwise also what
            lies around it (resize, then crop).
    """

    start: Tensor
    length: Tensor
    size_in: int
    size_out: int
    interpolation: Interpolation = "bilinear"
    isolated: bool = True


def filter_matrices(axis: Axis) -> Tensor:
    """Return the matrices that resize one axis of a crop, (B, size_out, size_in); rows sum to 1.

    Source: Pillow's documentation of resampling filters: convolution with a kernel whose
        support is scaled by the reduction.
    Differs: weights are not rounded to fixed point; at most 1/255 in a pixel.
    """
    pixels = torch.arange(axis.size_in, dtype=torch.float32, device=axis.start.device)
    return filter_weights(axis, pixels + 0.5)


def filter_weights(axis: Axis, positions: Tensor) -> Tensor:
    """Return what pixels weigh in each pixel of a resized crop, (B, size_out, K).

    ``positions`` are the middles of the pixels, (B, size_out, K) or what broadcasts to it. Each K
    weights sum to 1, and a position outside weighs nothing.
    """
    start = axis.start[:, None, None]
    scale = (axis.length / axis.size_out)[:, None, None]
    centers = torch.arange(axis.size_out, dtype=torch.float32, device=start.device) + 0.5
    offsets = positions - torch.addcmul(start, centers[:, None], scale)
    weights = _KERNELS[axis.interpolation](offsets.div_(scale.clamp(min=1)))
    if axis.isolated:
        high = (axis.start + axis.length)[:, None, None]
        weights = weights.mul_((positions > start) & (positions < high))
    else:
        weights = weights.mul_((positions > 0) & (positions < axis.size_in))
    return weights.div_(weights.sum(-1, keepdim=True))


def resample(
    images: Tensor, rows: Tensor, columns: Tensor, *, limit: float | None = None
) -> Tensor:
    """Apply filter matrices to the columns and then to the rows of each image: (B, C, H', W').

    Args:
        images: (B, C, H, W), float32.
        rows: (B, H', H).
        columns: (B, W', W).
        limit: Clip to [0, limit] after either product, as Pillow does; a bicubic filter
            overshoots.

    Differs: Pillow 13 takes the rows first where that is cheaper; with the clipping of a bicubic
        filter that can move a pixel beside a hard edge by some 10/255.
    """
    batch, channels, height, width = images.shape
    # Row by row, channels side by side: then each product is one large matrix an image.
    flat = images.transpose(1, 2).reshape(batch, height * channels, width)
    wide = torch.bmm(flat, columns.transpose(1, 2)).view(batch, height, -1)
    if limit is not None:
        wide.clamp_(0, limit)
    result = torch.bmm(rows, wide)
    if limit is not None:
        result.clamp_(0, limit)
    return result.view(batch, rows.shape[1], channels, -1).transpose(1, 2).contiguous()


def blur_matrices(sigma: Tensor, size: int, reach: int | None = None) -> Tensor:
    """Return the matrices that blur one axis, (B, size, size); beyond the edge its pixel repeats.

    Args:
        sigma: Standard deviation of the Gaussian in pixels, (B,), float32; 0 is no blur.
        size: Length of the axis.
        reach: Pixels to which the widest blur reaches; ``None``: look it up, for which the host
            would wait for a GPU.

    Source: PIL.ImageFilter.GaussianBlur, as the published code uses it.
    Differs: the Gaussian itself, where Pillow passes three boxes; on a noisy image 0.6/255
        in the mean for deviations of 0.5 to 2 pixels, and 4/255 near 0.3, where boxes are coarse.
    """
    matrices = torch.zeros(len(sigma), size, size, device=sigma.device)
    return matrices.scatter_add_(2, *blur_taps(sigma, size, reach))


def blur_reach(sigma: float) -> int:
    """Return how many pixels a blur reaches: three deviations."""
    return math.ceil(3 * sigma)


def blur_taps(sigma: Tensor, size: int, reach: int | None = None) -> tuple[Tensor, Tensor]:
    """Return :func:`blur_matrices` as positions and their weights, (B, size, K) each.

    A position can occur twice.
    """
    if reach is None:
        reach = blur_reach(float(sigma.max())) if len(sigma) else 0
    taps = torch.arange(-reach, reach + 1, dtype=torch.float32, device=sigma.device)
    spread = sigma.clamp(min=1e-3)[:, None]
    weights = torch.exp(-0.5 * (taps / spread).square())
    # Each blur ends at its own distance, or it would depend on the others in its batch.
    weights = weights.mul_(taps.abs() <= (3 * spread).ceil())
    weights = weights / weights.sum(1, keepdim=True)
    centers = torch.arange(size, device=sigma.device)
    columns = (centers[:, None] + taps.long()).clamp_(0, size - 1)
    return columns.expand(len(sigma), -1, -1), weights[:, None].expand(-1, size, -1)
