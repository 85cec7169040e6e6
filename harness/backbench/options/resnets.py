"""torchvision's ResNets."""

from __future__ import annotations

from typing import Final, NamedTuple


class ResNet(NamedTuple):
    """The properties in which one ResNet differs from the others.

    Args:
        blocks: Residual blocks of each stage.
        kernels: Convolutions of a block.
        width: Channels of the first stage's 3×3 convolution.
        group_width: Channels that each of its groups reads.
    """

    blocks: tuple[int, ...]
    kernels: int
    width: int = 64
    group_width: int = 64


#: By the names that torchvision gives them.
#:
#: Source: He et al. 2016, table 1; Xie et al. 2017, table 1; Zagoruyko and Komodakis 2016.
RESNETS: Final = {
    "resnet18": ResNet((2, 2, 2, 2), 2),
    "resnet34": ResNet((3, 4, 6, 3), 2),
    "resnet50": ResNet((3, 4, 6, 3), 3),
    "resnet101": ResNet((3, 4, 23, 3), 3),
    "resnet152": ResNet((3, 8, 36, 3), 3),
    "wide_resnet50_2": ResNet((3, 4, 6, 3), 3, 128, 128),
    "wide_resnet101_2": ResNet((3, 4, 23, 3), 3, 128, 128),
    "resnext50_32x4d": ResNet((3, 4, 6, 3), 3, 128, 4),
    "resnext101_32x8d": ResNet((3, 4, 23, 3), 3, 256, 8),
    "resnext101_64x4d": ResNet((3, 4, 23, 3), 3, 256, 4),
}
