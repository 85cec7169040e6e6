"""Sheets of small images: one SVG file whose images share one PNG, in 256 colors.

Pixels stay sharp when they are enlarged. The file is written here: a grid needs no plots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from backbench.images import Pixels
from backbench.plugin import Box
from backbench.report.figures.canvas import RED, short
from backbench.report.figures.marks import WIDTH, Pair, document, png_of, rectangle, text

#: Greatest side of an image, gap between images, height of a line, px.
_MOST_SIDE, _GAP, _LINE = 112, 6, 12

#: Greatest side that an image is kept at in the file, px.
_KEPT: Final = 64

#: Width of a character of the small font, roughly, px.
_CHARACTER: Final = 5.2


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """An image of a sheet.

    Args:
        pixels: (H, W, 3), uint8.
        text: A short line below it.
        boxes: Outlined rectangles, in its pixels.
        frame: Color of a frame around it; empty: none.
        native: Show it as large as it is, one px a pixel, if it fits.
    """

    pixels: Pixels
    text: str = ""
    boxes: Sequence[Box] = ()
    frame: str = ""
    native: bool = False


def sheet(
    rows: Sequence[Sequence[Tile | None]],
    heads: Sequence[str] = (),
    names: Sequence[str] = (),
    kept: int = _KEPT,
) -> bytes:
    """Draw a grid of images as an SVG file.

    Args:
        rows: The images, row by row; ``None`` leaves a gap.
        heads: Texts above the columns.
        names: A text above each row.
        kept: Images are made smaller in the file if a side is longer, in pixels.
    """
    columns = max(map(len, rows), default=1)
    side = min(_MOST_SIDE, (WIDTH - _GAP * (columns - 1)) // columns)
    most = max(4, int(side / _CHARACTER))
    small = [[None if tile is None else _kept(tile.pixels, kept) for tile in row] for row in rows]
    atlas, cell = _atlas([one for row in small for one in row if one is not None])
    parts = [text(_x(at, side), _LINE - 3, short(one, most)) for at, one in enumerate(heads)]
    top, number = float(_LINE * bool(heads)), 0
    for at, row in enumerate(rows):
        if names:
            parts.append(text(0, top + _LINE - 2, short(names[at], 70), bold=True))
            top += _LINE + 2
        height = max((_shown(tile, side)[1] for tile in row if tile), default=0.0)
        for column, (tile, image) in enumerate(zip(row, small[at], strict=True)):
            if tile is None or image is None:
                continue
            left = _x(column, side)
            view = f"1 {number * cell + 1} {image.shape[1]} {image.shape[0]}"
            parts.append(_image(tile, view, (left, top), _shown(tile, side)))
            parts.append(text(left, top + height + _LINE - 2, short(tile.text, most)))
            number += 1
        top += height + (_LINE if any(tile and tile.text for tile in row) else 0) + _GAP
    style = "image{image-rendering:pixelated}"
    return document("".join(parts), top, style, atlas)


def _x(column: int, side: int) -> int:
    return column * (side + _GAP)


def _kept(pixels: Pixels, most: int) -> Pixels:
    """Return an image for the file: made smaller if a side is too long."""
    longest = max(pixels.shape[:2])
    if longest <= most:
        return pixels
    height, width = (max(1, round(side * most / longest)) for side in pixels.shape[:2])
    small = Image.fromarray(np.ascontiguousarray(pixels)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    return np.asarray(small)


def _atlas(images: Sequence[Pixels]) -> tuple[str, int]:
    """Return images one below another as one element, and the side of the cell of each.

    An edge of one pixel around each repeats its own: what is enlarged shows no other image.
    """
    cell = max((max(one.shape[:2]) for one in images), default=1) + 2
    whole = np.zeros((cell * max(1, len(images)), cell, 3), dtype=np.uint8)
    for number, one in enumerate(images):
        edged = np.pad(one, ((1, 1), (1, 1), (0, 0)), mode="edge")
        whole[number * cell : number * cell + edged.shape[0], : edged.shape[1]] = edged
    high, wide = whole.shape[:2]
    return f'<image id="a" width="{wide}" height="{high}" href="{png_of(whole)}"/>', cell


def _shown(tile: Tile, side: int) -> tuple[float, float]:
    """Return the width and height of an image on the sheet, px."""
    height, width = tile.pixels.shape[:2]
    scale = side / max(height, width)
    if tile.native:
        scale = min(scale, 1.0)
    return round(width * scale, 1), round(height * scale, 1)


def _image(tile: Tile, view: str, corner: Pair, shown: Pair) -> str:
    """Return an image, a part of the atlas, with its outlines."""
    (left, top), (width, height) = corner, shown
    parts = (
        f'<svg x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" viewBox="{view}" '
        'preserveAspectRatio="none"><use href="#a"/></svg>'
    )
    scale = width / tile.pixels.shape[1]
    for box in tile.boxes:
        x, y = left + box.x * scale - 1, top + box.y * scale - 1
        for color, line in (("#ffffff", 2.6), (RED, 1.4)):
            size = box.width * scale + 2, box.height * scale + 2
            parts += rectangle((x, y), size, color, line)
    if tile.frame:
        parts += rectangle((left + 1, top + 1), (width - 2, height - 2), tile.frame, 2)
    return parts
