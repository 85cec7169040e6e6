"""Which network a backbone's tensors are of, as far as their shapes show."""

from __future__ import annotations

import re
from collections.abc import Mapping

from backbench.options.resnets import RESNETS, ResNet

Shape = tuple[int, ...]

_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.conv([123])\.weight")


def resnet_of(shapes: Mapping[str, Shape]) -> str | None:
    """Name the torchvision ResNet of these tensors without a head; ``None`` if there is none."""
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
    """Return the stem of a ResNet by its first convolution; ``padded``: a 3×3 stem pads by 2."""
    kernel = shapes.get("conv1.weight", ())[2:]
    if kernel == (7, 7):
        return "imagenet"
    if kernel == (3, 3):
        return "cifar-padded" if padded else "cifar"
    return None
