"""Figures that are written as SVG here, as grids and bars need no plots: text, images, the file."""

from __future__ import annotations

import base64
import io
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbench.report.figures.canvas import INK, dark_rules

#: Width of a figure, px.
WIDTH: Final = 390

#: Points in a px: the files of plots are in points as well.
_POINTS: Final = 0.75

Pair = tuple[float, float]


def document(body: str, height: float, style: str = "", definitions: str = "") -> bytes:
    """Return an SVG file of some elements, whose coordinates are in px."""
    font = f"text{{font:9px 'DejaVu Sans',Verdana,sans-serif;fill:{INK}}}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * _POINTS:g} '
        f'{height * _POINTS:g}" width="{WIDTH}" height="{height:g}">'
        f"<style>{font}{style}{dark_rules('text{fill:%s}')}</style><defs>{definitions}</defs>"
        f'<g transform="scale({_POINTS})">{body}</g></svg>'
    ).encode()


def text(
    x: float,
    y: float,
    words: str,
    *,
    bold: bool = False,
    anchor: str = "",
    turn: float = 0,
    style: str = "",
) -> str:
    """Return a text; empty without words.

    Args:
        x: Where its baseline begins, px.
        y: Height of its baseline, px.
        words: The text.
        bold: Thicker letters.
        anchor: ``middle`` or ``end``: that part of the text is at the point.
        turn: Degrees by which it is turned about the point.
        style: A class of the file's style.
    """
    if not words:
        return ""
    at = f'x="{x:.4g}" y="{y:.4g}"'
    at += f' text-anchor="{anchor}"' if anchor else ""
    at += ' font-weight="bold"' if bold else ""
    at += f' transform="rotate({turn:g} {x:.4g} {y:.4g})"' if turn else ""
    at += f' class="{style}"' if style else ""
    return f"<text {at}>{escape(words)}</text>"


def rectangle(corner: Pair, size: Pair, color: str, line: float = 0) -> str:
    """Return a filled rectangle, or its outline of so many px."""
    (x, y), (wide, high) = corner, size
    paint = f'fill="none" stroke="{color}" stroke-width="{line:g}"' if line else f'fill="{color}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" {paint}/>'


def image(corner: Pair, size: Pair, pixels: NDArray[np.uint8]) -> str:
    """Return an image, (H, W, 3), that fills a rectangle."""
    (x, y), (wide, high) = corner, size
    at = f'x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}"'
    return f'<image {at} preserveAspectRatio="none" href="{png_of(pixels)}"/>'


def png_of(pixels: NDArray[np.uint8]) -> str:
    """Return an image, (H, W, 3), as the data URI of a PNG file in 256 colors."""
    content = io.BytesIO()
    Image.fromarray(pixels).quantize(256).save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
