"""Color jitter and gray on whole batches, with every image's own strengths and order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbench.nn.parts import send
from backbench.views import taps

#: Weights of red, green and blue in the lightness that Pillow and torchvision use (ITU-R 601).
GRAY = (0.2989, 0.587, 0.114)

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)

_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


@dataclass(frozen=True, slots=True)
class Jitter:
    """Color changes of a batch.

    Args:
        factors: Brightness, contrast, saturation (1 changes nothing) and hue in turns
            (0 changes nothing), (B, 4), float32.
        order: Position → which of the four, (B, 4), int64.
        active: Which images are changed, (B,), bool.
        gray: Which images lose their colors afterwards, (B,), bool.
    """

    factors: NDArray[np.float32]
    order: NDArray[np.int64]
    active: NDArray[np.bool_]
    gray: NDArray[np.bool_]


def lightness(images: Tensor) -> Tensor:
    """Return the gray value of each pixel, (B, 1, H, W), of images (B, 3, H, W)."""
    red, green, blue = images.tensor_split(3, dim=1)
    return torch.add(red * GRAY[0], green, alpha=GRAY[1]).add_(blue, alpha=GRAY[2])


def exact_jitter(images: Tensor, jitter: Jitter) -> Tensor:
    """Jitter images (B, 3, H, W) in [0, 1] as torchvision does it, every image in its own order.

    The input may be overwritten.

    Source: torchvision's ColorJitter and rgb_to_grayscale on float tensors.
    Differs: nothing known; within 1e-5 of torchvision's.
    """
    by = _hue_by_hue if taps.in_cache(images.device) else _place_by_place
    return by(images, jitter)


def _hue_by_hue(images: Tensor, jitter: Jitter) -> Tensor:
    """Change images together whose hue is turned at the same position: each is moved once.

    Brightness, contrast and saturation are one formula with other numbers, so that only the
    position of the hue step differs between images.
    """
    position = (jitter.order == HUE).argmax(axis=1)
    kind = 2 * np.where(jitter.active, position, 4) + jitter.gray
    ranking = np.argsort(kind, kind="stable")
    ordered = images.index_select(0, torch.from_numpy(ranking))
    steps, hue = torch.from_numpy(_steps(jitter)[:, ranking]), jitter.factors[:, HUE].any()
    ends = np.searchsorted(kind[ranking], np.arange(11))
    for number, (start, end) in enumerate(pairwise(ends.tolist())):
        turned, gray = divmod(number, 2)
        for part in taps.pieces(start, end, images[:1].nbytes):
            picked = ordered[part]
            for position in range(4) if turned < 4 else ():
                step = steps[position, part]
                if position != turned:
                    _mix(picked, *step.unbind(1))
                elif hue:
                    turn_hue(picked, step[:, 0])
            if gray:
                _fade(picked)
    return ordered.index_select(0, torch.from_numpy(np.argsort(ranking)))


def _steps(jitter: Jitter) -> NDArray[np.float32]:
    """Return each image's four changes in its order, (4, B, 3, 1, 1, 1).

    A change is three numbers: the factor, and how much is added of the lightness of each pixel
    (saturation) and of the whole image (contrast).
    """
    factors = np.take_along_axis(jitter.factors, jitter.order, axis=1)
    pixel = (1 - factors) * (jitter.order == SATURATION)
    whole = (1 - factors) * (jitter.order == CONTRAST)
    steps = np.stack([factors, pixel, whole], axis=2).transpose(1, 0, 2)
    return np.ascontiguousarray(steps, dtype=np.float32)[..., None, None, None]


def _mix(images: Tensor, factor: Tensor, pixel: Tensor, whole: Tensor) -> None:
    gray = lightness(images)
    middle = gray.mean((2, 3), keepdim=True).mul_(whole)
    images.mul_(factor).add_(gray.mul_(pixel).add_(middle)).clamp_(0, 1)


def _place_by_place(images: Tensor, jitter: Jitter) -> Tensor:
    """Do the first change of all images, then the second: few kernels, for an accelerator."""
    for position in range(4):
        for which in range(4):
            chosen = np.flatnonzero(jitter.active & (jitter.order[:, position] == which))
            if which == HUE:
                chosen = chosen[jitter.factors[chosen, HUE] != 0]
            if len(chosen):
                rows = send(chosen, images.device)
                amount = send(jitter.factors[chosen, which], images.device)
                images[rows] = _CHANGES[which](images[rows], amount[:, None, None, None])
    chosen = np.flatnonzero(jitter.gray)
    if len(chosen):
        rows = send(chosen, images.device)
        images[rows] = _fade(images[rows])
    return images


def _brighten(images: Tensor, factor: Tensor) -> Tensor:
    return images.mul_(factor).clamp_(max=1)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    colors = images.mean((2, 3), keepdim=True)
    return images.mul_(factor).add_(lightness(colors).mul_(1 - factor)).clamp_(0, 1)


def _saturate(images: Tensor, factor: Tensor) -> Tensor:
    gray = lightness(images)
    return images.mul_(factor).add_(gray.mul_(1 - factor)).clamp_(0, 1)


def _fade(images: Tensor) -> Tensor:
    return images.copy_(lightness(images).expand_as(images))


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of images (B, 3, H, W) in [0, 1] in the HSV color cone, and return them.

    Args:
        images: Overwritten.
        turns: Parts of the whole circle, (B, 1, 1, 1); 0 leaves an image as it is.

    Source: torchvision's adjust_hue on float tensors.
    Differs: one formula instead of six cases, there and back; within 1e-5.
    """
    red, green, blue = images.unbind(1)
    top = torch.maximum(torch.maximum(red, green), blue)
    chroma = top - torch.minimum(torch.minimum(red, green), blue)
    # The distance of the hue from red, in parts of the circle, is linear in the three colors;
    # on which side of red it lies is known from green and blue. Where chroma is 0 there is no hue.
    hue = (green + blue).sub_(red).sub_(top).div_((6 * chroma).clamp_(min=_TINY)).add_(1 / 3)
    hue = hue.copysign_(green - blue).add_(turns[:, :, :, 0])
    whole = torch.empty_like(hue)
    for channel, opposite in zip((red, green, blue), _OPPOSITE, strict=True):
        # A channel is `top` less a trapezium of its opposite's distance from the hue.
        distance = torch.sub(hue, opposite)
        distance.sub_(torch.round(distance, out=whole)).abs_()
        share = torch.rsub(distance, 2, alpha=6).clamp_(0, 1)
        torch.addcmul(top, chroma, share, value=-1, out=channel)
    return images


#: Hues where red, green and blue are least, in parts of the color circle.
_OPPOSITE = (1 / 2, 5 / 6, 1 / 6)

_TINY = 1e-30

_CHANGES = (_brighten, _contrast, _saturate, turn_hue)


def linear_jitter(images: Tensor, jitter: Jitter) -> Tensor:
    """Jitter images (B, 3, H, W) in [0, 1] by one affine map of the colors of each.

    Source: FFCV-SSL (Bordes, Balestriero and Vincent 2023, arXiv 2303.01986) turns hue by a
        3×3 matrix too.
    Differs: from :func:`exact_jitter` in that hue is turned in YIQ instead of HSV, and colors
        are clipped once, at the end. Where nothing is clipped and hue is 0 they are equal.
    """
    maps, offsets = affine_maps(jitter, images.mean((2, 3)))
    flat = torch.baddbmm(offsets[:, :, None], maps, images.flatten(2))
    return flat.clamp_(0, 1).view_as(images)


def affine_maps(jitter: Jitter, means: Tensor) -> tuple[Tensor, Tensor]:
    """Return a jitter without clipping as an affine map of colors.

    Returns:
        Matrices (B, 3, 3) and offsets (B, 3), float32, on the device of ``means``, (B, 3).
    """
    device = means.device
    active = torch.from_numpy(jitter.active)
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0])
    factors = torch.where(active[:, None], torch.from_numpy(jitter.factors), neutral)
    eye, gray = torch.eye(3), torch.tensor(GRAY).expand(3, 3)
    bright, contrast, saturation, hue = factors.view(-1, 4, 1, 1).unbind(1)
    saturate = eye * saturation + (1 - saturation) * gray
    steps = torch.stack([eye * bright, eye * contrast, saturate, _hue_maps(hue[:, 0, 0])], dim=1)
    positions = torch.from_numpy(jitter.order)
    last = torch.where(torch.from_numpy(jitter.gray)[:, None, None], gray, eye)
    fade = torch.where(positions == CONTRAST, 1 - contrast[:, :, 0], 0.0)
    steps, order, fade, last, weights, eye = (
        send(one, device) for one in (steps, positions, fade, last, torch.tensor(GRAY), eye)
    )
    rows = torch.arange(len(order), device=device)
    maps, offsets = eye.expand(len(order), 3, 3), torch.zeros_like(means)
    for position in range(4):
        step = steps[rows, order[:, position]]
        shift = fade[:, position, None] * (means @ weights)[:, None]
        maps = torch.bmm(step, maps)
        offsets = torch.baddbmm(shift[:, :, None], step, offsets[:, :, None])[:, :, 0]
        means = torch.baddbmm(shift[:, :, None], step, means[:, :, None])[:, :, 0]
    return torch.bmm(last, maps), torch.bmm(last, offsets[:, :, None])[:, :, 0]


def _hue_maps(turns: Tensor) -> Tensor:
    """Return the matrices (B, 3, 3) that turn colors about the gray axis of YIQ."""
    angle = turns * (-2 * math.pi)  # from red to green, as in HSV
    cos, sin = angle.cos(), angle.sin()
    turn = torch.zeros(len(turns), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = cos
    turn[:, 1, 2], turn[:, 2, 1] = -sin, sin
    back: Tensor = torch.linalg.inv(torch.tensor(_YIQ))
    return back @ turn @ torch.tensor(_YIQ)
