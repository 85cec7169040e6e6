"""Views of the harness; arguments: side, color mode."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from backbench.options.views import ViewOptions
from backbench.system.memory import keep_memory
from backbench.views.batches import UniformBatch
from backbench.views.views import ViewParameters, draws_of, random_view, view_parameters
from benchmarks.worker import serve
from benchmarks.workers import moco_common as common

SIDE, COLOR = int(sys.argv[1]), sys.argv[2]
BATCH = 256
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
OPTIONS = ViewOptions.model_validate({"color": COLOR})


def batch_of(pixels: Tensor, number: int, count: int = BATCH) -> UniformBatch:
    """Return images of an epoch."""
    indices = np.random.default_rng(number).permutation(len(pixels))[:count]
    return UniformBatch(pixels[torch.from_numpy(indices)], indices, epoch=number, seed=0)


def difference(pixels: Tensor) -> float:
    """Return how far views without blur are from torchvision's of the same numbers, at most."""
    options = OPTIONS.model_copy(update={"blur": 0.0})
    batch = batch_of(pixels, 0, 64)
    numbers = view_parameters(draws_of(batch, 0), batch.sizes, options)
    ours = random_view(batch, options, SIDE, 0)
    sources = pixels[torch.from_numpy(batch.indices)].permute(0, 3, 1, 2).float() / 255
    theirs = [by_torchvision(one, numbers, row) for row, one in enumerate(sources)]
    return float((ours - torch.stack(theirs)).abs().max())


def by_torchvision(image: Tensor, numbers: ViewParameters, row: int) -> Tensor:
    """Make one view with torchvision's functions."""
    image = V.resized_crop(image, *map(int, numbers.boxes[row]), [SIDE, SIDE], antialias=True)
    changes = (V.adjust_brightness, V.adjust_contrast, V.adjust_saturation, V.adjust_hue)
    jitter = numbers.jitter
    for which in jitter.order[row] if jitter.active[row] else ():
        image = changes[which](image, float(jitter.factors[row, which]))
    if jitter.gray[row]:
        image = V.rgb_to_grayscale(image, 3)
    return V.horizontal_flip(image) if numbers.flip[row] else image


def prepare() -> dict[str, Any]:
    """Make images, and a few views to warm up."""
    keep_memory()  # as every stage does
    pixels = torch.from_numpy(common.pixels(SIDE))
    ready = {"pixels": pixels, "difference": difference(pixels)}
    timed(ready)
    return ready


def timed(ready: dict[str, Any]) -> dict[str, Any]:
    """Make two normalized views of each image of twenty batches."""
    for number in range(20):
        batch = batch_of(ready["pixels"], number)
        for view in (0, 1):
            random_view(batch, OPTIONS, SIDE, view).sub_(MEAN).div_(STD)
    return {"units": 20 * 2 * BATCH, "difference": ready["difference"]}


with torch.no_grad():
    serve(prepare, timed)
