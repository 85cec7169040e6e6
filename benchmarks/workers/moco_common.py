"""What all contenders of pretraining share: networks, images, and how much a section does."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet

BATCH: Final = 128
QUEUE: Final = 4096
DIM: Final = 128
IMAGES: Final = 2048

#: Where a peer computes; a GPU only for ``python -m benchmarks gpu``.
DEVICE: Final = torch.device(os.environ.get("BACKBENCH_DEVICE", "cpu"))


@dataclass(frozen=True, slots=True)
class Case:
    """A network at a size.

    Args:
        side: Of the images and views, in pixels.
        width: Channels of the first stage; 64 is ResNet-18.
        small_stem: 3 × 3 and no pooling, as for images of 32 pixels.
        steps: Of one timed section.
        peer_steps: The same of a peer.
        batch: Pairs of a step.
        queue: Negatives of MoCo v2.
    """

    side: int
    width: int
    small_stem: bool
    steps: int = 0
    peer_steps: int = 0
    batch: int = BATCH
    queue: int = QUEUE


CASES: Final = {
    "w16": Case(32, 16, small_stem=True, steps=12, peer_steps=6),
    "rn18-64": Case(64, 64, small_stem=False, steps=4, peer_steps=2),
    "rn18-32": Case(32, 64, small_stem=True, steps=1),
    "gpu-rn18-32": Case(32, 64, small_stem=True, peer_steps=40, batch=512, queue=8192),
    "gpu-rn18-224": Case(224, 64, small_stem=False, peer_steps=10, batch=256, queue=4096),
    "tiny": Case(32, 4, small_stem=True, peer_steps=2, batch=32, queue=512),
}


def network(case: Case, outputs: int | None = None) -> nn.Module:
    """Build a ResNet-18 of a width.

    Args:
        case: Which.
        outputs: Of its last linear layer; ``None``: it ends in its 8 × width features.
    """
    net: Any = resnet.ResNet(resnet.BasicBlock, [2, 2, 2, 2])
    width = case.width
    net.inplanes = width
    kernel, stride, padding = (3, 1, 1) if case.small_stem else (7, 2, 3)
    net.conv1 = nn.Conv2d(3, width, kernel, stride, padding, bias=False)
    net.bn1 = nn.BatchNorm2d(width)
    if case.small_stem:
        net.maxpool = nn.Identity()
    for number in range(4):
        stride = 1 + (number > 0)
        stage = net._make_layer(resnet.BasicBlock, width << number, 2, stride)  # noqa: SLF001
        setattr(net, f"layer{number + 1}", stage)
    net.fc = nn.Identity() if outputs is None else nn.Linear(8 * width, outputs)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


def pixels(side: int, count: int = IMAGES) -> np.ndarray:
    """Make images, (count, side, side, 3), uint8; smooth, as photographs are."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    grown = [Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC) for one in coarse]
    return np.stack([np.asarray(one) for one in grown])


def trained(module: nn.Module) -> int:
    """Count the numbers that are trained."""
    return sum(one.numel() for one in module.parameters() if one.requires_grad)


def weights(module: nn.Module) -> int:
    """Count the trained numbers of convolutions and linear layers, without biases."""
    return sum(one.numel() for one in module.parameters() if one.requires_grad and one.ndim > 1)


def gflop(case: Case) -> float:
    """Return the 10⁹ operations of one image's way through the network's convolutions.

    Where the harness leaves out products with padding, they are not counted.
    """
    counted: list[float] = []

    def count(module: Any, given: Any, maps: Tensor) -> None:
        channels, *kernel = module.weight.shape[1:]
        taps, pixels = math.prod(kernel), math.prod(given[0].shape[2:])
        seen = pixels if 2 * pixels <= taps else taps
        counted.append(2e-9 * maps[0].numel() * channels * seen)

    net = network(case).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        net(torch.zeros(1, 3, case.side, case.side))
    return sum(counted)
