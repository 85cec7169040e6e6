"""Which network a backbone's tensors are of, as far as their shapes show."""

from __future__ import annotations

import re
from collections.abc import Mapping

from backbench.options.resnets import RESNETS, ResNet

Shape = tuple[int, ...]

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
    found = ResNet(tuple(blocks), kernels, inner[0], inner[1])
    return next((name for name, known in RESNETS.items() if known == found), None)


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
