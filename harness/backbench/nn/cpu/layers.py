"""Layers of networks on a processor: convolutions that are matrix products, and a pooling.

The last stages of a network see maps of 2 × 2 pixels or one where images are small. Most taps of
a kernel then lie on the padding: of a kernel of 3 × 3 over 2 × 2 pixels, twenty of thirty-six.
Libraries of convolutions multiply those zeros too, and in blocks of a few pixels.
"""

from __future__ import annotations

from copy import copy
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Pixels of the largest maps for which a kernel of 3 × 3 is a dense layer.
SMALL = 4

#: For each position of the output along an axis, its pixels and the taps that meet them.
_Spans = tuple[tuple[slice, slice], ...]


class DensePooling(nn.AdaptiveAvgPool2d):
    """The mean over each map, in any layout; oneDNN's own takes long on the way back."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, C, H', W'), dense, of maps (B, C, H, W)."""
        return super().forward(maps.to_dense() if maps.is_mkldnn else maps)


class Convolution(nn.Conv2d):
    """A convolution that is a dense layer where that has half of the products, or fewer.

    Source: a convolution is a linear map, and so a matrix; with it the last stage of a ResNet-18
        at 64 pixels takes half the time on a processor.
    Differs: from ``nn.Conv2d`` in the rounding of sums; ``torch.func`` has no rule for the layer.
    """

    @classmethod
    def like(cls, plain: nn.Conv2d) -> Convolution:
        """Return the same convolution, with the same parameters; no weights are drawn."""
        made = cast("Convolution", copy(plain))
        made.__class__ = cls
        return made

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, out_channels, H', W') of maps (B, in_channels, H, W)."""
        if maps.is_mkldnn:
            return self._blocked(maps)
        if not self._is_small(maps):
            return super().forward(maps)
        down, across = spans = tuple(
            _spans(maps.shape[2 + axis], self.kernel_size[axis], self.stride[axis], padding)
            for axis, padding in enumerate(cast("tuple[int, int]", self.padding))
        )
        low = torch.is_autocast_enabled("cpu") and maps.dtype != torch.float64
        dtype = torch.get_autocast_dtype("cpu") if low else maps.dtype
        matrix: Tensor = _Matrix.apply(self.weight, dtype, maps.shape[2:], spans)
        bias = None if self.bias is None else self.bias.repeat(len(down) * len(across))
        made = F.linear(maps.permute(0, 2, 3, 1).flatten(1), matrix, bias)
        return made.view(len(maps), len(down), len(across), self.out_channels).permute(0, 3, 1, 2)

    def _blocked(self, maps: Tensor) -> Tensor:
        """Return maps of maps in oneDNN's layout; small maps leave the layout."""
        with torch.autocast("cpu", enabled=False):  # oneDNN rounds the weights itself
            made = super().forward(maps)
        if made.shape[2] * made.shape[3] > SMALL:
            return made
        dense: Tensor = made.to_dense()
        return dense.contiguous(memory_format=torch.channels_last)

    def _is_small(self, maps: Tensor) -> bool:
        if maps.dim() != 4:
            return False
        pixels = maps.shape[2] * maps.shape[3]
        return (
            2 * pixels <= self.kernel_size[0] * self.kernel_size[1]
            and maps.device.type == "cpu"  # where it was measured
            and self.groups == 1
            and self.dilation == (1, 1)
            and self.padding_mode == "zeros"
            and not isinstance(self.padding, str)
        )


def _spans(length: int, kernel: int, stride: int, padding: int) -> _Spans:
    """Return the spans of a kernel with ``kernel`` taps over ``length`` pixels of an axis."""
    starts = range(-padding, length + padding - kernel + 1, stride)
    return tuple(
        (
            slice(max(start, 0), max(min(start + kernel, length), 0)),
            slice(max(-start, 0), max(min(kernel, length - start), 0)),
        )
        for start in starts
    )


class _Matrix(torch.autograd.Function):
    """The matrix of a convolution, (H' W' out, H W in), of its weight (out, in, kernel, kernel)."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, dtype: torch.dtype, size: torch.Size, spans: tuple[_Spans, ...]
    ) -> Tensor:
        ctx.weight, ctx.dtype, ctx.size, ctx.spans = weight.shape, weight.dtype, size, spans
        down, across = spans
        outputs, inputs = weight.shape[:2]
        kernel = weight.to(dtype).permute(0, 2, 3, 1)
        matrix = kernel.new_zeros(len(down), len(across), outputs, *size, inputs)
        for y, (rows, i) in enumerate(down):
            for x, (columns, j) in enumerate(across):
                matrix[y, x, :, rows, columns] = kernel[:, i, j]
        return matrix.view(len(down) * len(across) * outputs, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        outputs, inputs, *taps = ctx.weight
        down, across = ctx.spans
        parts = gradients[0].view(len(down), len(across), outputs, *ctx.size, inputs)
        kernel = gradients[0].new_zeros(outputs, *taps, inputs, dtype=ctx.dtype)
        for y, (rows, i) in enumerate(down):
            for x, (columns, j) in enumerate(across):
                kernel[:, i, j] += parts[y, x, :, rows, columns]
        return kernel.permute(0, 3, 1, 2), None, None, None
