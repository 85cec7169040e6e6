"""Random views of whole batches, with every picture's own parameters.

First the parameters are drawn (numbers only, on the host), then the pixels are computed (on the
device). A view depends on the seed, the epoch, the picture and the view's number, and on nothing
else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbench.nn.batch import Batch
from backbench.runtime.colour import HUE, Jitter, exact_jitter, linear_jitter
from backbench.runtime.randomness import Draws
from backbench.runtime.resample import blur_matrices, resample
from backbench.training_options import ViewOptions

#: How often torchvision tries to fit a crop of the wanted area and shape into a picture.
TRIES = 10


class Purpose(IntEnum):
    """What a random number is for; the values are part of every result."""

    CROP_SHAPE = 0
    CROP_PLACE = 1
    FLIP = 2
    JITTER = 3
    JITTER_FACTORS = 4
    JITTER_ORDER = 5
    GREY = 6
    BLUR = 7
    BLUR_SIGMA = 8
    #: From here on purposes are free for plugins.
    PLUGIN = 64


@dataclass(frozen=True, slots=True)
class ViewParameters:
    """One view of each picture, as numbers.

    Args:
        boxes: Top, left, height, width in pixels, (B, 4), float32, whole numbers.
        flip: (B,), bool.
        jitter: Colours.
        sigma: Standard deviation of the blur in pixels, (B,), float32; 0 is no blur.
    """

    boxes: NDArray[np.float32]
    flip: NDArray[np.bool_]
    jitter: Jitter
    sigma: NDArray[np.float32]


def draws_of(batch: Batch, view: int) -> Draws:
    """Return the random numbers of one view of a batch."""
    return Draws(batch.seed, batch.epoch, batch.indices, view)


def random_view(batch: Batch, options: ViewOptions, size: int, view: int) -> Tensor:
    """Make one random view of each picture.

    Args:
        batch: The pictures.
        options: What is random, and how much.
        size: Side of the views.
        view: Number of the view.

    Returns:
        (B, 3, size, size), float32 in [0, 1], on the batch's device.

    Source: He et al. 2020 and Chen et al. 2020, the views of MoCo v2: crop, jitter, grey,
        blur, flip; published code moco/main_moco.py.
    Differs: the flip is done with the crop, which is the same; random numbers come from
        another generator.
    """
    parameters = view_parameters(draws_of(batch, view), batch.sizes, options)
    images = batch.crop(
        parameters.boxes, size, interpolation=options.interpolation, flip=parameters.flip
    )
    if parameters.jitter.active.any() or parameters.jitter.grey.any():
        change = exact_jitter if options.colour == "exact" else linear_jitter
        images = change(images, parameters.jitter)
    return blur(images, parameters.sigma)


def view_parameters(draws: Draws, sizes: NDArray[np.int64], options: ViewOptions) -> ViewParameters:
    """Draw the parameters of one view of each picture.

    Args:
        draws: Random numbers of B pictures.
        sizes: Height and width of each, (B, 2).
        options: What is random, and how much.
    """
    low, high = options.blur_sigma
    sigma = low + draws.uniform(Purpose.BLUR_SIGMA, 1)[:, 0] * np.float32(high - low)
    blurred = draws.uniform(Purpose.BLUR, 1)[:, 0] < options.blur
    return ViewParameters(
        boxes=crop_boxes(draws, sizes, options.scale, options.ratio),
        flip=draws.uniform(Purpose.FLIP, 1)[:, 0] < options.flip,
        jitter=_jitter(draws, options),
        sigma=np.where(blurred, sigma, 0).astype(np.float32),
    )


def _jitter(draws: Draws, options: ViewOptions) -> Jitter:
    strengths = np.asarray(
        [options.brightness, options.contrast, options.saturation, options.hue], dtype=np.float32
    )
    factors = (2 * draws.uniform(Purpose.JITTER_FACTORS, 4) - 1) * strengths
    factors[:, :HUE] += 1
    return Jitter(
        factors=factors,
        order=np.argsort(draws.uniform(Purpose.JITTER_ORDER, 4), axis=1, kind="stable"),
        active=draws.uniform(Purpose.JITTER, 1)[:, 0] < options.jitter,
        grey=draws.uniform(Purpose.GREY, 1)[:, 0] < options.grey,
    )


def crop_boxes(
    draws: Draws,
    sizes: NDArray[np.int64],
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> NDArray[np.float32]:
    """Draw crops of random area, shape and place.

    Args:
        draws: Random numbers of B pictures.
        sizes: Height and width of each, (B, 2).
        scale: Least and largest share of the picture's area.
        ratio: Least and largest width over height.

    Returns:
        Top, left, height, width in whole pixels, (B, 4), float32.

    Source: torchvision's RandomResizedCrop.get_params: ten tries, then the largest central
        crop of an allowed shape.
    Differs: nothing but the generator.
    """
    shape = draws.uniform(Purpose.CROP_SHAPE, 2 * TRIES).astype(np.float64)
    heights, widths = sizes[:, :1].astype(np.float64), sizes[:, 1:].astype(np.float64)
    areas = heights * widths * (scale[0] + shape[:, :TRIES] * (scale[1] - scale[0]))
    low, high = np.log(ratio[0]), np.log(ratio[1])
    ratios = np.exp(low + shape[:, TRIES:] * (high - low))
    wide, tall = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = (wide >= 1) & (wide <= widths) & (tall >= 1) & (tall <= heights)
    rows = np.arange(len(sizes))
    first = fits.argmax(axis=1)
    wide, tall = wide[rows, first], tall[rows, first]
    place = draws.uniform(Purpose.CROP_PLACE, 2).astype(np.float64)
    height, width = heights[:, 0], widths[:, 0]
    top = np.floor(place[:, 0] * (height - tall + 1))
    left = np.floor(place[:, 1] * (width - wide + 1))
    boxes = np.stack([top, left, tall, wide], axis=1)
    if not fits.any(axis=1).all():
        central = _central_boxes(height, width, ratio)
        boxes = np.where(fits.any(axis=1)[:, None], boxes, central)
    return boxes.astype(np.float32)


def _central_boxes(
    height: NDArray[np.float64], width: NDArray[np.float64], ratio: tuple[float, float]
) -> NDArray[np.float64]:
    shape = np.clip(width / height, *ratio)
    tall = np.where(width < shape * height, np.rint(width / shape), height)
    wide = np.where(width > shape * height, np.rint(height * shape), width)
    return np.stack([(height - tall) // 2, (width - wide) // 2, tall, wide], axis=1)


def blur(images: Tensor, sigma: NDArray[np.float32]) -> Tensor:
    """Blur some pictures of a batch with a Gaussian.

    Args:
        images: (B, 3, S, S), float32; overwritten.
        sigma: Standard deviation in pixels, (B,), float32; 0 is no blur.

    Returns:
        ``images``.
    """
    chosen = np.flatnonzero(sigma)
    if len(chosen):
        rows = torch.from_numpy(chosen).to(images.device)
        matrices = blur_matrices(torch.from_numpy(sigma[chosen]), images.shape[-1])
        matrices = matrices.to(images.device)
        images[rows] = resample(images[rows], matrices, matrices)
    return images
