"""Arrays to image files."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image

from backbench.images import Pixels

FileFormat = Literal["jpeg", "png"]


def encode(image: Pixels | Image.Image, file_format: FileFormat, quality: int = 75) -> bytes:
    """Code an image, (H, W, 3), uint8, or an RGB image of Pillow, as a file.

    A ``jpeg`` has half the resolution in color (4:2:0); ``png`` loses nothing. The bytes are equal
    for equal pixels with one version of Pillow and libjpeg.

    Source: Saha et al. 2022, published code: Pillow's defaults for JPEG, quality 75 and 4:2:0.
    """
    file = io.BytesIO()
    if not isinstance(image, Image.Image):
        image = Image.fromarray(np.ascontiguousarray(image))
    if file_format == "jpeg":
        image.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    else:
        image.save(file, "PNG")
    return file.getvalue()


def through_jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Return an image, (H, W, 3), uint8, as a reader of its JPEG would see it."""
    with Image.open(io.BytesIO(encode(pixels, "jpeg", quality))) as image:
        return np.asarray(image)
