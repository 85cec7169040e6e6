"""One image file to one RGB array."""

from __future__ import annotations

import errno
import os
import stat
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from backbench.data.preprocess import Fit, fitted
from backbench.errors import DataError
from backbench.images import Pixels

try:
    from PIL.AvifImagePlugin import SUPPORTED as _READS_AVIF
except ImportError:  # Pillow before 11.3
    _READS_AVIF = False

#: File name endings of each format, lower case, by Pillow's name of it. Formats that Pillow loads
#: first come first. What Pillow cannot read here is passed over, and counted.
_SUFFIXES: Final = {
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg"),
    "PNG": (".png",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "PPM": (".pgm", ".pnm", ".ppm"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    **({"AVIF": (".avif",)} if _READS_AVIF else {}),
    **({"HEIF": (".heic", ".heif")} if "HEIF" in Image.OPEN else {}),
}

#: The formats that are read, whatever a file's name: others, such as EPS, start other programs.
FORMATS: Final = tuple(_SUFFIXES)

#: File name endings that datasets and tools take for images, lower case.
IMAGE_SUFFIXES: Final = frozenset(chain.from_iterable(_SUFFIXES.values()))

_BITS_PER_SAMPLE: Final = 258  # the TIFF tag
_ORIENTATION: Final = 0x0112  # the EXIF tag; values as in CIPA DC-008, section 4.6.5.1
_TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_AXES: Final = (5, 6, 7, 8)


def decode(path: str | Path, fit: Fit | None = None, *, alpha: bool = False) -> Pixels:
    """Read an image file as RGB, (H, W, 3), uint8, perhaps read-only.

    The EXIF orientation is applied. Gray-scale, palette and CMYK images become RGB; of 16 bits
    a channel the upper 8 are kept; transparent pixels are laid on white; of several frames the
    first is taken. Without a ``fit`` the image keeps its size. With ``alpha``, a file that has
    transparent pixels gives (H, W, 4), laid on nothing.

    Raises:
        DataError: Naming the file and why it cannot be read: missing, empty, truncated, of an
            unknown format, or without a known range of values.

    Differs: The published loaders drop an alpha channel, which shows colors that no viewer
        shows, and ignore the EXIF orientation. ImageNet has next to none of either.
    """
    return np.asarray(read_image(path, fit, alpha=alpha))


def read_image(path: str | Path, fit: Fit | None = None, *, alpha: bool = False) -> Image.Image:
    """Read an image file as an image of Pillow, of mode RGB or RGBA; see :func:`decode`.

    It has none of the file's notes (profile, comment), so that none is saved with it.
    """
    try:
        with open_image(path) as image:
            image.load()
            rgb = _rgb(image, alpha=alpha)
            turn = _TRANSPOSE.get(_orientation(image))
            if turn is not None:
                rgb = rgb.transpose(turn)
            rgb = fitted(rgb, fit)
            rgb.info.clear()
            return rgb
    except Exception as error:  # Pillow's decoders raise nearly every built-in exception
        raise DataError(f"{path}: {_reason(path, error)}") from error


def flaw(path: str | Path) -> str:
    """Return the problem of an image file; "" if there is none.

    All its bytes are read, and of a JPEG an eighth of its width and height is decoded: that
    takes a fraction of the time.
    """
    try:
        with open_image(path) as image:
            image.draft(None, (1, 1))
            image.load()
            _rgb(image)
    except Exception as error:  # noqa: BLE001 - as for read_image
        return f"{path}: {_reason(path, error)}"
    return ""


def open_image(path: str | Path) -> Image.Image:
    """Open an image file of a known format; its pixels are not read yet.

    Raises:
        OSError: If it cannot be opened, or is a pipe or a device, whose reading might never end.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116 - path may be a str
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError("not a regular file")
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # a plugin may have set it: gray for what is missing
    return Image.open(path, formats=FORMATS)


def conversions(path: str | Path) -> str:
    """Return, by an image's header, what of it is converted: ``alpha CMYK``; "" if nothing is.

    A file that is no image fails where it is read.
    """
    try:
        with open_image(path) as image:
            exif = image.format != "PNG" or "exif" in image.info  # else a PNG is decoded for it
            found = {
                "16-bit": image.mode.startswith("I"),
                "CMYK": image.mode in {"CMYK", "YCbCr", "LAB", "HSV"},
                "alpha": image.has_transparency_data,
                "frames": getattr(image, "is_animated", False),
                "turned": exif and _orientation(image) in _TRANSPOSE,
            }
    except Exception:  # noqa: BLE001 - as for read_image
        return ""
    return " ".join(name for name, holds in found.items() if holds)


def read_size(path: str | Path) -> tuple[int, int]:
    """Read the height and width of an image, upright, from its header."""
    try:
        with open_image(path) as image:
            width, height = image.size
            # Pillow opens TIFF files upright by itself.
            swap = image.format != "TIFF" and _orientation(image) in _SWAPS_AXES
    except Exception as error:
        raise DataError(f"{path}: {_reason(path, error)}") from error
    return (width, height) if swap else (height, width)


def _rgb(image: Image.Image, *, alpha: bool = False) -> Image.Image:
    if image.mode.startswith("I"):
        values, bits = np.asarray(image), _bits(image)
        if values.min() < 0 or values.max() >> bits:
            raise ValueError(f"its values are beyond {bits} bits; save it with 8 bits a channel")
        return Image.fromarray((values >> (bits - 8)).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its values are floating point; save it with 8 bits a channel")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if alpha:
            return rgba
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _bits(image: Image.Image) -> int:
    """Return the bits of a value of a deep image; Pillow scales those of other formats to 16."""
    stated = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))
    bits = int(stated[0] if isinstance(stated, tuple) else stated)
    if not 8 <= bits <= 16:
        raise ValueError(f"which of its {bits} bits are used is unknown; save it with 8 a channel")
    return bits


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF does not make the pixels unreadable
        return 1
    return value if isinstance(value, int) else 1


def _reason(path: str | Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        if os.path.getsize(path) == 0:  # noqa: PTH202 - path may be a str
            return "the file is empty"
        return f"not an image of a known format ({', '.join(FORMATS)})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
