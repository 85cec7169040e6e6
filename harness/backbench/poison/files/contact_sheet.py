"""Contact sheet: some images before and after, with the trigger's boxes outlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from backbench.images import Pixels
from backbench.plugin import Box

#: Side of the square that an image is fitted into, px.
_SIDE: Final = 224
_GAP: Final = 12
_CAPTION: Final = 34
_PAIRS_A_ROW: Final = 2


@dataclass(frozen=True, slots=True)
class Pair:
    """An image before and after, (H, W, 3), the boxes of its trigger, and two short lines on it."""

    before: Pixels
    after: Pixels
    boxes: Sequence[Box]
    caption: tuple[str, str]


def contact_sheet(pairs: Sequence[Pair]) -> Image.Image:
    """Draw pairs of images, at least one, two pairs a row, small images enlarged."""
    rows = -(-len(pairs) // _PAIRS_A_ROW)
    pair_width, row_height = 2 * (_SIDE + _GAP), _SIDE + _CAPTION + _GAP
    size = (_PAIRS_A_ROW * pair_width + _GAP, rows * row_height + _GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for number, pair in enumerate(pairs):
        row, column = divmod(number, _PAIRS_A_ROW)
        x, y = _GAP + column * pair_width, _GAP + row * row_height
        sheet.paste(_fit(pair.before, ()), (x, y))
        sheet.paste(_fit(pair.after, pair.boxes), (x + _SIDE + _GAP, y))
        for line, text in enumerate(pair.caption):
            draw.text((x, y + _SIDE + 2 + 15 * line), _short(text, font), "black", font)
    return sheet


def _fit(pixels: Pixels, boxes: Sequence[Box]) -> Image.Image:
    height, width = pixels.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
    image = Image.fromarray(pixels).resize(size, how)
    draw = ImageDraw.Draw(image)
    for box in boxes:
        left, top = round(box.x * scale), round(box.y * scale)
        right, bottom = round((box.x + box.width) * scale), round((box.y + box.height) * scale)
        draw.rectangle((left - 1, top - 1, right, bottom), outline="red", width=1)
    return image


def _short(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Cut the beginning of a text that is too long: paths differ at their ends."""
    room = 2 * _SIDE + _GAP
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"…{text}") > room:
        text = text[1:]
    return f"…{text}"
