"""Triggers: how they are made, read, resized and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from backbench.plugin import Pixels, decode, derive

#: Most pixels of a trigger: as many as in a large photograph.
MOST_PX: Final = 1 << 26

_SIDE: Final = 80
_COLORS: Final = 4
#: Room around a text, px: glyphs may reach beyond the box that their font states.
_MARGIN: Final = 16


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger, as it is put on an image.

    Args:
        kind: ``box``, a rectangle that covers; ``shape``, an image pasted by its own alpha;
            ``text``, drawn letters.
        pixels: (h, w, 3), uint8.
        mask: Share of the trigger at each pixel in 255ths, (h, w), uint8; ``None`` for a box.
        offset: x and y from the point that a text is centered on to its top-left corner.
    """

    kind: Literal["box", "shape", "text"]
    pixels: Pixels
    mask: NDArray[np.uint8] | None = None
    offset: tuple[int, int] = (0, 0)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def image(self) -> Pixels:
        """Return the pixels, with the mask as a fourth channel where there is one."""
        return self.pixels if self.mask is None else np.dstack([self.pixels, self.mask])


def shaped_trigger(trigger: int | Path, width: int, opacity: float) -> Trigger:
    """Make a trigger of a number or an image file that is pasted by its own alpha channel."""
    resized = resize_trigger(_load_with_alpha(trigger), width)
    share = 255 - image_share(opacity)
    mask = (resized[..., 3] * np.uint16(share) + np.uint16(127)) // np.uint16(255)
    return Trigger("shape", resized[..., :3], mask.astype(np.uint8))


def image_share(opacity: float) -> int:
    """Return the image's share in the box, in 255ths, cut as the published code cuts it."""
    return int(255 * round(1 - opacity, 12))  # 1 - .8 is a little below .2


def make_trigger(number: int) -> Pixels:
    """Make the trigger of a number, (80, 80, 3), uint8: the same on every machine.

    Sixteen random colors in a square are enlarged smoothly.

    Source: Saha et al. 2020, Hidden Trigger Backdoor Attacks (AAAI), whose triggers are 4 x 4
        random colors, enlarged. The ten published files show the rest: each channel of a color
        is 0 or 255, and the enlargement bicubic.
    Differs: Our own colors: number 10 is not the published ``trigger_10.png``; to use that, give
        its path. Pillow's bicubic kernel is a little softer than that of the published files (at
        most 35 of 255 at one pixel, with their colors).
    """
    # A bit generator's raw stream is the one that numpy promises never to change (NEP 19).
    bits = int(np.random.PCG64(derive(0, "patch", "trigger", number)).random_raw())
    channels = [255 * (bits >> i & 1) for i in range(_COLORS * _COLORS * 3)]
    colors = np.array(channels, np.uint8).reshape(_COLORS, _COLORS, 3)
    enlarged = Image.fromarray(colors).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    return np.asarray(enlarged)


def load_trigger(trigger: int | Path) -> Pixels:
    """Return the pixels, (H, W, 3), uint8, of a made trigger's number or of an image file.

    Differs: With ``alpha_composite`` the published code ignores a trigger's alpha channel; here,
        transparent pixels are laid on white. All published triggers are opaque.
    """
    return make_trigger(trigger) if isinstance(trigger, int) else decode(trigger)


def _load_with_alpha(trigger: int | Path) -> Pixels:
    pixels = make_trigger(trigger) if isinstance(trigger, int) else decode(trigger, alpha=True)
    if pixels.shape[2] == 4:
        return pixels
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def resize_trigger(trigger: Pixels, width: int) -> Pixels:
    """Resize a trigger, (H, W, 3) or (H, W, 4), to a width, by a bicubic filter.

    The height is ``int(H * width / W)``, at least 1.

    Raises:
        ValueError: If that has more pixels than any image that it could be put on.

    Source: Saha et al. 2022, published code, ``generate_poison.py``, run with Pillow 7 or later.
    """
    height = max(1, int(trigger.shape[0] * width / trigger.shape[1]))
    if width * height > MOST_PX:
        raise ValueError(f"the trigger would have {width:,} x {height:,} px; make width smaller")
    resized = Image.fromarray(trigger).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def text_trigger(text: str, size: int, font: Path | None, opacity: float) -> Trigger:
    """Draw a line of text in black, in the smallest box that holds its letters.

    Without a ``font``, a TrueType or OpenType file, it is in the font that Pillow brings along. The
    point to place is the middle of the line (Pillow's anchor ``mm``).

    Source: Saha et al. 2022, published code: black at 128 of 255, size 30, anchor ``mm``.
    Differs: The published font is FreeMono Bold, whose license keeps it from being shipped here;
        set ``font`` to use it. Size and opacity, which the published code ignores, hold. The
        letters' pixels depend on the version of FreeType, as they do there; the manifest states
        what came out.
    """
    face = _face(font, size)
    left, top, right, bottom = (int(edge) for edge in face.getbbox(text, anchor="mm"))
    point = (_MARGIN - left, _MARGIN - top)
    room = (right - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN)
    canvas = Image.new("RGBA", room, (255, 255, 255, 0))
    ink = (0, 0, 0, 255 - image_share(opacity))
    ImageDraw.Draw(canvas).text(point, text, font=face, fill=ink, anchor="mm")
    box = canvas.getchannel("A").getbbox()
    if box is None:
        raise ValueError(f"text: {text!r} draws nothing")
    drawn = np.asarray(canvas.crop(box))
    return Trigger("text", drawn[..., :3], drawn[..., 3], (box[0] - point[0], box[1] - point[1]))


def _face(font: Path | None, size: int) -> ImageFont.FreeTypeFont:
    if font is not None:
        return ImageFont.truetype(font, size, layout_engine=ImageFont.Layout.BASIC)
    face = ImageFont.load_default(size)
    if not isinstance(face, ImageFont.FreeTypeFont):
        raise ValueError("text: this Pillow was built without FreeType; install another")  # noqa: TRY004
    return face
