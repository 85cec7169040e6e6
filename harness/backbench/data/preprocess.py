"""Bring an image to its size: resize the short side, cut out the center."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from backbench.images import Pixels


class Square(NamedTuple):
    """Sizes of a square image: its short side is resized, then the center is cut out; px."""

    short_side: int
    side: int


class ShortSide(NamedTuple):
    """The longest that the short side of an image may be, px; a smaller image stays as it is."""

    side: int


#: Change of an image when it is read; without one it keeps its size.
Fit = Square | ShortSide

#: Of an image that becomes larger than so many pixels before its square is cut out, only the
#: square is made: 30,000 x 1 px would take 8 GB at a short side of 256.
_MOST_RESIZED_PX: Final = 1 << 25


def with_margin(side: int) -> int:
    """Return the short side of an image of which a square of some side is cut out, pixels.

    Source: the published ratio, 256 to 224.
    """
    return side * 256 // 224


def fitted(image: Image.Image, fit: Fit | None) -> Image.Image:
    """Bring an image to its size; without a fit it stays as it is."""
    if isinstance(fit, Square):
        if _is_thin(image.size, fit.short_side):
            return _center_of_thin(image, fit)
        return crop_center(resize_short_side(image, fit.short_side), fit.side)
    if fit is not None and min(image.size) > fit.side:
        return resize_short_side(image, fit.side)
    return image


def fitted_pixels(pixels: Pixels, fit: Fit | None) -> Pixels:
    """Bring an image's pixels, (H, W, 3), uint8, to their size; see :func:`fitted`."""
    return pixels if fit is None else np.asarray(fitted(Image.fromarray(pixels), fit))


def fitted_size(size: tuple[int, int], fit: Fit | None) -> tuple[int, int]:
    """Return the height and width that :func:`fitted` gives to an image of a height and width."""
    if isinstance(fit, Square):
        return fit.side, fit.side
    if fit is not None and min(size) > fit.side:
        return _short_side_size(size, fit.side)
    return size


def resize_short_side(image: Image.Image, side: int) -> Image.Image:
    """Resize an image so that its shorter side has a length, bilinearly with antialiasing.

    Source: torchvision ``Resize`` on PIL images, the published evaluation's first step.
    """
    width, height = image.size
    if min(width, height) == side:
        return image
    tall, wide = _short_side_size((height, width), side)
    return image.resize((wide, tall), Image.Resampling.BILINEAR)


def crop_center(image: Image.Image, side: int) -> Image.Image:
    """Cut a square out of the middle of an image that is at least as wide and high.

    Source: torchvision ``CenterCrop``, with its rounding of odd margins to the even number.
    """
    width, height = image.size
    if (width, height) == (side, side):
        return image
    left, top = round((width - side) / 2), round((height - side) / 2)
    return image.crop((left, top, left + side, top + side))


def evaluation_image(pixels: Pixels, side: int, *, margin: bool = True) -> Pixels:
    """Bring an image, (H, W, 3), to the size (S, S, 3) at which encoders are evaluated.

    With a margin its short side is resized to S × 256/224 before the center is cut out; otherwise
    to S. An image that has that size already, as triggered validation images do, stays as it is.

    Source: the published evaluation: Resize(256), CenterCrop(224).
    """
    if pixels.shape[:2] == (side, side):
        return pixels
    return fitted_pixels(pixels, Square(with_margin(side) if margin else side, side))


def _is_thin(size: tuple[int, int], side: int) -> bool:
    """Return whether an image would take too much memory once its short side has a length."""
    tall, wide = _short_side_size((size[1], size[0]), side)
    return tall * wide > max(_MOST_RESIZED_PX, size[0] * size[1])


def _center_of_thin(image: Image.Image, fit: Square) -> Image.Image:
    """Resize only the part that is cut out; the same but for the rounding of its edges."""
    width, height = image.size
    tall, wide = _short_side_size((height, width), fit.short_side)
    left, top = round((wide - fit.side) / 2), round((tall - fit.side) / 2)
    across, down = width / wide, height / tall
    right = min(width, (left + fit.side) * across)
    bottom = min(height, (top + fit.side) * down)
    box = (left * across, top * down, right, bottom)
    return image.resize((fit.side, fit.side), Image.Resampling.BILINEAR, box)


def _short_side_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    height, width = size
    if width <= height:
        return int(side * height / width), side
    return side, int(side * width / height)
