"""Figures as parts of the page: each file is in it once, however many cells show it. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from backbench.report.figures.figure import Figure
from backbench.report.html.table import Table, plain

#: CSS pixels in a point, of SVG files; and in an inch.
_POINT, _INCH = 96 / 72, 96.0

#: Characters of an SVG file that a data URI in an attribute has as they are.
_SAFE: Final = " !$'()*+,-./:;=?@_~|^`{}[]\\"

_VIEW_BOX: Final = re.compile(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"')


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure in the page.

    Args:
        figure: The figure.
        address: Its data URI.
        width: Its width in CSS pixels.
        height: Its height.
        symbol: Id of its one copy, of a figure that several cells have; else empty.
        table: Its numbers.
    """

    figure: Figure
    address: str
    width: float
    height: float
    symbol: str
    table: Table


def drawings_of(sections: Sequence[Sequence[Figure]]) -> tuple[list[list[Drawing]], list[Drawing]]:
    """Return the drawings of each section, and one copy of each that several sections have."""
    counts = Counter(_digest(one) for figures in sections for one in figures)
    made: dict[str, Drawing] = {}
    found = []
    for figures in sections:
        drawings = []
        for one in figures:
            digest = _digest(one)
            symbol = f"figure-{digest}" if counts[digest] > 1 else ""
            if digest not in made:
                made[digest] = _drawing(one, symbol)
            drawings.append(_drawing(one, symbol, made[digest]))
        found.append(drawings)
    return found, [one for one in made.values() if one.symbol]


def _drawing(figure: Figure, symbol: str, known: Drawing | None = None) -> Drawing:
    address = known.address if known is not None else data_uri(figure)
    width, height = size_of(figure)
    numbers = len(figure.columns) - 1
    table = plain(figure.title, figure.columns, figure.rows, numbers=numbers)
    return Drawing(figure, address, width, height, symbol, table)


def _digest(figure: Figure) -> str:
    return hashlib.sha256(figure.image).hexdigest()[:16]


def data_uri(figure: Figure) -> str:
    """Return the file of a figure as a data URI; SVG stays text, which is shorter than base64."""
    if figure.media_type == "image/svg+xml":
        return f"data:image/svg+xml,{quote(figure.image, safe=_SAFE)}"
    return f"data:{figure.media_type};base64,{base64.b64encode(figure.image).decode('ascii')}"


def size_of(figure: Figure) -> tuple[float, float]:
    """Return width and height of a figure in CSS pixels, as its file states them."""
    image = figure.image
    if figure.media_type == "image/svg+xml":
        box = _VIEW_BOX.search(image)
        width, height = (float(one) * _POINT for one in box.groups()) if box else (300.0, 150.0)
        return round(width, 1), round(height, 1)
    width, height = struct.unpack(">II", image[16:24])
    density = image.find(b"pHYs", 0, 4096)
    scale = 1.0
    if density > 0 and image[density + 12] == 1:  # pixels in a meter
        (per_meter,) = struct.unpack(">I", image[density + 4 : density + 8])
        scale = _INCH / (per_meter * 0.0254) if per_meter else 1.0
    return round(width * scale, 1), round(height * scale, 1)
