"""Views of a peer; arguments: published, torchvision, lightly or kornia; side."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import v2

from benchmarks.worker import serve
from benchmarks.workers import moco_common as common

PEER, SIDE = sys.argv[1], int(sys.argv[2])
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Views of one section; a quarter to one second.
COUNT = 1024
#: Taps of a Gaussian that reaches three deviations of two pixels, as ours does.
TAPS = 13


def published() -> Callable[[Any], Tensor]:
    """Return its pipeline: PIL images, one by one."""
    blur = import_module("moco.loader").GaussianBlur([0.1, 2.0])
    return transforms.Compose([
        transforms.RandomResizedCrop(SIDE, scale=(0.2, 1.0)),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(p=0.2),
        transforms.RandomApply([blur], p=0.5),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])  # fmt: skip


def torchvision() -> Callable[[Any], Tensor]:
    """Return the same of tensors, one by one."""
    return v2.Compose([
        v2.RandomResizedCrop(SIDE, scale=(0.2, 1.0), antialias=True),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        v2.RandomGrayscale(p=0.2),
        v2.RandomApply([v2.GaussianBlur(TAPS, (0.1, 2.0))], p=0.5),
        v2.RandomHorizontalFlip(),
        v2.Normalize(MEAN, STD),
    ])  # fmt: skip


def lightly() -> Callable[[Any], Any]:
    """Return its MoCoV2Transform: two views of a PIL image."""
    made: Callable[[Any], Any] = import_module("lightly.transforms").MoCoV2Transform(SIDE)
    return made


def kornia() -> Callable[[Any], Tensor]:
    """Return its augmentations of batches; the order of the jitter is a batch's own."""
    of = import_module("kornia.augmentation")
    made: Callable[[Any], Tensor] = torch.nn.Sequential(
        of.RandomResizedCrop((SIDE, SIDE), scale=(0.2, 1.0), cropping_mode="resample"),
        of.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        of.RandomGrayscale(p=0.2),
        of.RandomGaussianBlur((TAPS, TAPS), (0.1, 2.0), p=0.5),
        of.RandomHorizontalFlip(p=0.5),
        of.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    )
    return made


def prepare() -> tuple[Callable[[Any], Any], Tensor]:
    """Make the pipeline and images; some views to warm up."""
    pipelines = {"published": published, "torchvision": torchvision, "lightly": lightly}
    make = kornia if PEER == "kornia" else pipelines[PEER]
    ready = make(), torch.from_numpy(common.pixels(SIDE, 512))
    timed(ready)
    return ready


def timed(ready: tuple[Callable[[Any], Any], Tensor]) -> int:
    """Make the views of a section, in batches of 256."""
    pipeline, pixels = ready
    done = 0
    while done < COUNT:
        some = pixels[done % 512 : done % 512 + 256]
        if PEER == "kornia":
            done += len(pipeline(some.permute(0, 3, 1, 2).float().div_(255)))
        elif PEER == "torchvision":
            images = some.permute(0, 3, 1, 2).float().div_(255)
            done += len(torch.stack([pipeline(one) for one in images]))
        else:
            made = [pipeline(Image.fromarray(one)) for one in some.numpy()]
            flat = made if PEER == "published" else [view for two in made for view in two]
            done += len(torch.stack(flat))
    return done


with torch.no_grad():
    serve(prepare, timed)
