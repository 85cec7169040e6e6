"""The limit: 10⁹ operations a second of bfloat16 convolutions, at the best of some shapes."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.worker import serve

#: Channels and side of maps as ResNet-18 has them.
SHAPES = ((64, 32), (128, 16), (256, 8), (256, 16), (512, 8))


def convolve(shape: tuple[Tensor, Tensor], seconds: float) -> float:
    """Convolve for so long; return the 10⁹ operations that were done."""
    maps, weight = shape
    each, done = 2e-9 * maps.numel() * weight[0].numel() / maps.shape[1] * weight.shape[0], 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        F.conv2d(maps, weight, padding=1)
        done += each
    return done


def prepare() -> tuple[Tensor, Tensor]:
    """Find the shape at which most is done."""
    best, most = None, 0.0
    for channels, side in SHAPES:
        maps = torch.rand(64, channels, side, side, dtype=torch.bfloat16)
        weight = torch.rand(channels, channels, 3, 3, dtype=torch.bfloat16)
        layout = torch.channels_last
        shape = maps.contiguous(memory_format=layout), weight.contiguous(memory_format=layout)
        convolve(shape, 0.1)
        if (done := convolve(shape, 0.4)) > most:
            best, most = shape, done
    assert best is not None
    return best


def timed(shape: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Convolve for a second; measure copying beside it."""
    start = time.perf_counter()
    done = convolve(shape, 1.0)
    seconds = time.perf_counter() - start
    source, target = torch.rand(2**25), torch.empty(2**25)
    copying = time.perf_counter()
    for _ in range(5):
        target.copy_(source)
    copying = time.perf_counter() - copying
    return {"units": done, "seconds": seconds, "copy_gb_s": 5 * 2 * source.nbytes / 1e9 / copying}


with torch.inference_mode():
    serve(prepare, timed)
