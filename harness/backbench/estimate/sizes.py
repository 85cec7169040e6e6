"""How many bytes the weights of a network take, and how many features it gives. Without torch."""

from __future__ import annotations

import re
from typing import NamedTuple

from backbench.options.training import BackboneOptions

_FLOAT, _LONG = 4, 8

#: Blocks in each of the four stages of a residual network.
_DEPTHS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_NAME = re.compile(r"(resnet|wide_resnet|resnext)(\d+)(?:_(\d+)x?(\d+)?d?)?")


class Size(NamedTuple):
    """What is known of a network without building it.

    Args:
        weights: Bytes of its parameters and of the statistics of its batch norms.
        features: Number of features, D.
    """

    weights: int
    features: int


def backbone_size(options: BackboneOptions) -> Size | None:
    """Say how large a backbone is.

    Args:
        options: Which network.

    Returns:
        Its size; ``None`` for a timm model, whose shapes timm alone knows.

    Source: He et al. 2016, Deep residual learning; Xie et al. 2017, ResNeXt; Zagoruyko and
        Komodakis 2016, Wide residual networks, as torchvision builds them.
    """
    if options.name == "tiny-resnet":
        return Size(_tiny(options), options.widths[-1])
    found = _NAME.fullmatch(options.name)
    if found is None:
        return None
    family, depth, first, second = found.groups()
    groups, width = 1, 64
    if family == "wide_resnet":
        width = 64 * int(first)
    elif family == "resnext":
        groups, width = int(first), int(second)
    weights = _conv(3, 64, 7 if options.stem == "imagenet" else 3) + _norm(64)
    channels, expansion = 64, 1 if int(depth) < 50 else 4
    for stage, blocks in enumerate(_DEPTHS[int(depth)]):
        plane = 64 * 2**stage
        for block in range(blocks):
            out = plane * expansion
            if expansion == 1:
                inner = _conv(channels, plane, 3) + _conv(plane, plane, 3) + 2 * _norm(plane)
            else:
                middle = plane * width // 64 * groups
                inner = _conv(channels, middle, 1) + _conv(middle, middle, 3, groups)
                inner += _conv(middle, out, 1) + 2 * _norm(middle) + _norm(out)
            weights += inner
            if block == 0 and (stage or channels != out):
                weights += _conv(channels, out, 1) + _norm(out)
            channels = out
    return Size(weights, channels)


def _tiny(options: BackboneOptions) -> int:
    weights = _conv(3, options.stem_width, options.stem_kernel) + _norm(options.stem_width)
    before = options.stem_width
    for width, stride in zip(options.widths, options.strides, strict=True):
        weights += _conv(before, width, 3) + _conv(width, width, 3) + 2 * _norm(width)
        if stride != 1 or before != width:
            weights += _conv(before, width, 1) + _norm(width)
        before = width
    return weights


def _conv(channels: int, out: int, kernel: int, groups: int = 1) -> int:
    return channels // groups * out * kernel**2 * _FLOAT


def _norm(channels: int) -> int:
    """Scale, shift, mean and variance of each channel, and how many batches were seen."""
    return 4 * channels * _FLOAT + _LONG
