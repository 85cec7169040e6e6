"""The limit: convolutions alone, in bfloat16, as often forwards and back as a step of MoCo needs.

Without an argument: 10⁹ operations a second at the best of some shapes. With a case: pairs a second
of that network's own convolutions, layer by layer; as matrix products where the harness has these.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.worker import serve
from benchmarks.workers import moco_common as common

#: Channels and side of maps as ResNet-18 has them.
SHAPES = ((64, 16), (64, 32), (128, 8), (128, 16), (256, 8), (256, 16), (512, 8))


@dataclass(frozen=True, slots=True)
class Convolution:
    """A layer, and what goes through it.

    Args:
        layer: Stride and padding.
        maps: Input, bfloat16, channels-last.
        weight: bfloat16, channels-last.
        gradient: Of the output.
        first: Whether its input needs no gradient.
    """

    layer: nn.Conv2d
    maps: Tensor
    weight: Tensor
    gradient: Tensor
    first: bool = False

    @property
    def gflop(self) -> float:
        """10⁹ operations of :meth:`step`."""
        return 4 * 2e-9 * self.gradient.numel() * self.weight[0].numel()

    @classmethod
    def of(cls, layer: nn.Conv2d, shape: tuple[int, ...], *, first: bool = False) -> Convolution:
        """Return a layer that sees maps of a shape."""
        layout = torch.channels_last
        maps = torch.rand(shape).bfloat16().contiguous(memory_format=layout)
        weight = layer.weight.detach().bfloat16().contiguous(memory_format=layout)
        made = cls(layer, maps, weight, maps, first)
        return cls(layer, maps, weight, torch.rand_like(made.forwards()), first)

    def forwards(self) -> Tensor:
        """Convolve."""
        layer: Any = self.layer
        return torch.conv2d(self.maps, self.weight, None, layer.stride, layer.padding)

    def step(self) -> None:
        """Do what a step of MoCo does: a query forwards and back, a key forwards."""
        self.forwards()
        self.forwards()
        layer: Any = self.layer
        wanted = [not self.first, True, False]
        torch.ops.aten.convolution_backward(
            self.gradient, self.maps, self.weight, None, layer.stride, layer.padding, [1, 1],
            False, [0, 0], 1, wanted,  # noqa: FBT003 - the operator has no names
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Product:
    """A layer that the harness computes as a matrix product.

    Args:
        maps: (B, inputs), bfloat16.
        matrix: (outputs, inputs), bfloat16.
        gradient: (B, outputs), bfloat16.
    """

    maps: Tensor
    matrix: Tensor
    gradient: Tensor

    def step(self) -> None:
        """Do what a step of MoCo does."""
        for _ in range(2):
            torch.nn.functional.linear(self.maps, self.matrix)
        torch.mm(self.gradient, self.matrix)
        torch.mm(self.gradient.T, self.maps)


def layers(case: common.Case) -> list[Convolution | Product]:
    """Return all convolutions of a network, with maps of a batch."""
    found: list[Convolution | Product] = []

    def note(layer: Any, given: Any, made: Tensor) -> None:
        shape = (common.BATCH, *given[0].shape[1:])
        if 2 * given[0][0, 0].numel() > layer.weight[0, 0].numel():
            found.append(Convolution.of(layer, shape, first=not found))
            return
        inputs, outputs = given[0][0].numel(), made[0].numel()
        sizes = ((common.BATCH, inputs), (outputs, inputs), (common.BATCH, outputs))
        found.append(Product(*(torch.rand(size).bfloat16() for size in sizes)))

    net = common.network(case).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    net(torch.zeros(1, 3, case.side, case.side))
    return found


def repeated(one: Convolution, seconds: float) -> float:
    """Do steps of a layer for so long; return the 10⁹ operations that were done."""
    done, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        one.step()
        done += one.gflop
    return done


def best() -> Convolution:
    """Find the shape at which most is done."""
    tried = [
        Convolution.of(nn.Conv2d(channels, channels, 3, 1, 1), (64, channels, side, side))
        for channels, side in SHAPES
    ]
    for one in tried:
        repeated(one, 0.1)
    return max(tried, key=lambda one: repeated(one, 0.3))


def limit(one: Convolution) -> dict[str, float]:
    """Convolve for a second; measure copying beside it."""
    start = time.perf_counter()
    done = repeated(one, 1.0)
    seconds = time.perf_counter() - start
    source, target = torch.rand(2**25), torch.zeros(2**25)
    copying = time.perf_counter()
    for _ in range(5):
        target.copy_(source)
    copying = time.perf_counter() - copying
    return {"units": done, "seconds": seconds, "copy_gb_s": 5 * 2 * source.nbytes / 1e9 / copying}


def own(convolutions: list[Convolution | Product]) -> float:
    """Do the convolutions of as many steps as a section of the harness has."""
    steps = common.CASES[sys.argv[1]].steps
    for _ in range(steps):
        for one in convolutions:
            one.step()
    return steps * common.BATCH


with torch.inference_mode():
    if len(sys.argv) > 1:
        serve(lambda: layers(common.CASES[sys.argv[1]]), own)
    else:
        serve(best, limit)
