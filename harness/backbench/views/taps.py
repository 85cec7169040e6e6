"""Cropping, resizing and blurring on a processor: each row is a weighted sum of a few rows.

A filter has few weights that are not zero: two where an image is enlarged. An accelerator would
rather multiply by the whole matrix (:mod:`backbench.views.resample`); a processor is up to ten
times faster if it leaves the zeros out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from backbench.views.resample import SUPPORT, Axis, blur_taps, filter_weights

#: Bytes of images that are worked on at once, so that temporaries stay in a core's cache.
PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SparseFilter:
    """A filter along one axis for each of B images: input indices and weights, (B, S, K)."""

    indices: Tensor
    weights: Tensor

    def of(self, images: slice) -> SparseFilter:
        """Return the filters of some of the images."""
        return SparseFilter(self.indices[images], self.weights[images])

    def flipped(self, mirrored: Tensor) -> SparseFilter:
        """Return the filters with the images that are ``mirrored``, (B,), the other way round."""
        chosen = mirrored[:, None, None]
        return SparseFilter(
            torch.where(chosen, self.indices.flip(1), self.indices),
            torch.where(chosen, self.weights.flip(1), self.weights),
        )


def in_cache(device: torch.device) -> bool:
    """Return whether a device computes best on few images at a time, and without zeros."""
    return device.type == "cpu"


def filter_taps(axis: Axis) -> SparseFilter:
    """Return the filters that resize one axis of a crop: the matrices without their zeros."""
    scale = axis.length / axis.size_out
    reach = SUPPORT[axis.interpolation] * scale.clamp(min=1)
    centers = torch.arange(axis.size_out, dtype=torch.float32) + 0.5
    first = torch.addcmul(axis.start[:, None], centers, scale[:, None])
    first = first.sub_(reach[:, None]).add_(0.5).floor_()
    count = math.ceil(2 * float(reach.max()))
    indices = first[:, :, None] + torch.arange(count, dtype=torch.float32)
    weights = filter_weights(axis, indices + 0.5)
    return SparseFilter(indices.clamp_(0, axis.size_in - 1).long(), weights)


def weighted_rows(rows: Tensor, taps: SparseFilter) -> Tensor:
    """Make each row of (B, C, N, L), contiguous, the weighted sum of some rows: (B, C, S, L)."""
    batch, channels, height, length = rows.shape
    first = torch.arange(0, batch * channels * height, height).view(batch, channels, 1, 1)
    indices = (taps.indices[:, None] + first).flatten(0, 2)
    weights = taps.weights[:, None].expand(-1, channels, -1, -1).flatten(0, 2)
    table = rows.view(-1, length)
    found = F.embedding_bag(indices, table, mode="sum", per_sample_weights=weights)
    return found.view(batch, channels, -1, length)


def crop_by_taps(
    pixels: Tensor, rows: SparseFilter, columns: SparseFilter, *, limit: float | None = None
) -> Tensor:
    """Cut out and resize; see :func:`backbench.views.resample.resample`.

    ``pixels`` are (B, C, W, H), contiguous: column after column.
    """
    batch, channels = pixels.shape[:2]
    result = pixels.new_empty(batch, channels, rows.indices.shape[1], columns.indices.shape[1])
    for part in pieces(0, len(pixels), pixels[:1].nbytes):
        wide = weighted_rows(pixels[part], columns.of(part))
        if limit is not None:
            wide.clamp_(0, limit)
        result[part] = weighted_rows(wide.transpose(2, 3).contiguous(), rows.of(part))
    return result if limit is None else result.clamp_(0, limit)


def blur_by_taps(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur contiguous images; the result is column after column in memory.

    See :func:`backbench.views.resample.blur_matrices`.
    """
    taps = SparseFilter(*blur_taps(sigma, images.shape[-1]))
    down = weighted_rows(images, taps)
    return weighted_rows(down.transpose(2, 3).contiguous(), taps).transpose(2, 3)


def pieces(start: int, end: int, nbytes: int) -> list[slice]:
    """Cut a batch into parts that a core's cache holds; an image has ``nbytes`` bytes."""
    size = max(1, PIECE_BYTES // nbytes)
    return [slice(first, min(first + size, end)) for first in range(start, end, size)]
