"""Which network a backbone's tensors are of, as far as their shapes show."""

from __future__ import annotations

import re
from collections.abc import Mapping

Shape = tuple[int, ...]

#: torchvision's ResNets: blocks a stage, kernels a block, channels of the first stage's 3×3
#: convolution, and how many channels each of its groups reads.
#:
#: Source: He et al. 2016, table 1; Xie et al. 2017, table 1; Zagoruyko and Komodakis 2016.
_RESNETS: Mapping[tuple[Shape, int, int, int], str] = {
    ((2, 2, 2, 2), 2, 64, 64): "resnet18",
    ((3, 4, 6, 3), 2, 64, 64): "resnet34",
    ((3, 4, 6, 3), 3, 64, 64): "resnet50",
    ((3, 4, 23, 3), 3, 64, 64): "resnet101",
    ((3, 8, 36, 3), 3, 64, 64): "resnet152",
    ((3, 4, 6, 3), 3, 128, 128): "wide_resnet50_2",
    ((3, 4, 23, 3), 3, 128, 128): "wide_resnet101_2",
    ((3, 4, 6, 3), 3, 128, 4): "resnext50_32x4d",
    ((3, 4, 23, 3), 3, 256, 8): "resnext101_32x8d",
    ((3, 4, 23, 3), 3, 256, 4): "resnext101_64x4d",
}

_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.conv([123])\.weight")


def resnet_of(shapes: Mapping[str, Shape]) -> str | None:
    """Name the torchvision ResNet that tensors of these names and shapes are of.

    Args:
        shapes: Shapes by name, without a head.

    Returns:
        Its name; ``None`` if they are of no ResNet, or of one that is not in torchvision.
    """
    blocks = [0, 0, 0, 0]
    kernels = 0
    for name in shapes:
        match = _BLOCK.fullmatch(name)
        if match is not None:
            stage, block, kernel = map(int, match.groups())
            blocks[stage - 1] = max(blocks[stage - 1], block + 1)
            kernels = max(kernels, kernel)
    inner = shapes.get("layer1.0.conv2.weight", ())
    if len(inner) != 4:
        return None
    return _RESNETS.get((tuple(blocks), kernels, inner[0], inner[1]))


def stem_of(shapes: Mapping[str, Shape], *, padded: bool = False) -> str | None:
    """Say which stem a ResNet has, by the shape of its first convolution.

    Args:
        shapes: Shapes by name.
        padded: A 3×3 stem pads by 2 pixels.

    Returns:
        A value of the backbone's option ``stem``; ``None`` if it has neither.
    """
    kernel = shapes.get("conv1.weight", ())[2:]
    if kernel == (7, 7):
        return "imagenet"
    if kernel == (3, 3):
        return "cifar-padded" if padded else "cifar"
    return None
