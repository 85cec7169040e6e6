"""Boxes of crops, and the purposes of a view's random numbers. No torch."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from backbench.views.randomness import Draws

#: Number of times that torchvision tries to fit a crop of the wanted area and shape into an image.
TRIES = 10


class Purpose(IntEnum):
    """The purpose of a random number; the values are part of every result."""

    CROP_SHAPE = 0
    CROP_PLACE = 1
    FLIP = 2
    JITTER = 3
    JITTER_FACTORS = 4
    JITTER_ORDER = 5
    GRAY = 6
    BLUR = 7
    BLUR_SIGMA = 8
    #: From here on purposes are free for plugins.
    PLUGIN = 64


def crop_boxes(
    draws: Draws, sizes: NDArray[np.int64], scale: tuple[float, float], ratio: tuple[float, float]
) -> NDArray[np.float32]:
    """Draw crops of random area, shape and place.

    Args:
        draws: Random numbers of B images.
        sizes: Height and width of each, (B, 2).
        scale: Least and largest share of the image's area.
        ratio: Least and largest width over height.

    Returns:
        Top, left, height, width in whole pixels, (B, 4), float32.

    Source: torchvision's RandomResizedCrop.get_params: ten tries, then the largest central
        crop of an allowed shape.
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
    position = draws.uniform(Purpose.CROP_PLACE, 2).astype(np.float64)
    height, width = heights[:, 0], widths[:, 0]
    top = np.floor(position[:, 0] * (height - tall + 1))
    left = np.floor(position[:, 1] * (width - wide + 1))
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


def square_boxes(
    draws: Draws, purpose: int, sizes: NDArray[np.int64], short: int, side: int
) -> NDArray[np.float32]:
    """Draw squares of resized images.

    Args:
        draws: Random numbers of B images.
        purpose: What those of the corners are for.
        sizes: Height and width of each, (B, 2).
        short: Short side that images are resized to; 0: as they are.
        side: Side of the square, in pixels of the resized image.

    Returns:
        Top, left, height, width in pixels of the image as it is, (B, 4), float32.
    """
    least = sizes.min(axis=1, keepdims=True)
    resized = np.maximum(short, sizes * short // least) if short else sizes
    corners = draws.integers(purpose, resized - side + 1, 2)
    zoom = sizes / resized
    return np.concatenate([corners * zoom, side * zoom], axis=1).astype(np.float32)
