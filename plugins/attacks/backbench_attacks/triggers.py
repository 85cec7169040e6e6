"""Triggers: how they are made, where they go, how they are put there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbench import seeds
from backbench.data.decode import decode
from backbench.images import Pixels
from backbench.plugin import Box

_SIDE: Final = 80
_COLOURS: Final = 4


def make_trigger(number: int) -> Pixels:
    """Make the trigger of a number: sixteen random colours in a square, enlarged smoothly.

    Args:
        number: Any; a trigger of its own for each.

    Returns:
        (80, 80, 3), uint8: the same on every machine.

    Source: Saha et al. 2020, Hidden Trigger Backdoor Attacks (AAAI), whose triggers are 4 x 4
        random colours, enlarged. The ten published files show the rest: each channel of a colour
        is 0 or 255, and the enlargement bicubic.
    Differs: Our own colours: number 10 is not the published ``trigger_10.png``; to use that, give
        its path. Pillow's bicubic kernel is a little softer than that of the published files (at
        most 35 of 255 at one pixel, with their colours).
    """
    # A bit generator's raw stream is the one that numpy promises never to change (NEP 19).
    bits = int(np.random.PCG64(seeds.derive(0, "patch", "trigger", number)).random_raw())
    channels = [255 * (bits >> i & 1) for i in range(_COLOURS * _COLOURS * 3)]
    colours = np.array(channels, np.uint8).reshape(_COLOURS, _COLOURS, 3)
    enlarged = Image.fromarray(colours).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    return np.asarray(enlarged)


def load_trigger(trigger: int | Path) -> Pixels:
    """Give a made trigger, or a picture file's pixels.

    Args:
        trigger: A number, or the path of a picture.

    Returns:
        (H, W, 3), uint8.

    Raises:
        DataError: If the picture cannot be read.

    Differs: The published code ignores a trigger's alpha channel; here, transparent pixels are
        laid on white. All published triggers are opaque.
    """
    return make_trigger(trigger) if isinstance(trigger, int) else decode(trigger)


def resize_trigger(trigger: Pixels, width: int) -> Pixels:
    """Resize a trigger to a width, keeping its shape.

    Args:
        trigger: (H, W, 3), uint8.
        width: Pixels; the height is ``int(H * width / W)``, at least 1.

    Returns:
        (height, width, 3), uint8, bicubic.

    Source: Saha et al. 2022, published code, ``generate_poison.py``, run with Pillow 7 or later.
    """
    height = max(1, int(trigger.shape[0] * width / trigger.shape[1]))
    resized = Image.fromarray(trigger).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def place(
    image: tuple[int, ...],
    trigger: tuple[int, ...],
    span: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[int, int]:
    """Draw where the trigger's top-left corner goes.

    Args:
        image: Shape of the picture, (H, W, ...).
        trigger: Shape of the trigger, (h, w, ...).
        span: Fractions of the picture between which it lies. Where it does not fit there, it
            begins at the first and may be cut by the picture's border.
        rng: The only source of randomness.

    Returns:
        x and y, x drawn first.

    Source: Saha et al. 2022, published code, location ``random`` with ``alpha_composite``.
    Differs: Another generator, so other draws of the same distribution.
    """
    x_low, x_high = _limits(image[1], trigger[1], span)
    y_low, y_high = _limits(image[0], trigger[0], span)
    x = int(rng.integers(x_low, x_high, endpoint=True))
    return x, int(rng.integers(y_low, y_high, endpoint=True))


def _limits(image: int, trigger: int, span: tuple[float, float]) -> tuple[int, int]:
    low = int(image * span[0])
    return low, max(low, int(image * span[1] - trigger))


def paste(
    image: Pixels, trigger: Pixels, corner: tuple[int, int], opacity: float = 1.0
) -> tuple[Pixels, Box]:
    """Put a trigger on a picture.

    Args:
        image: (H, W, 3), uint8; not modified.
        trigger: (h, w, 3), uint8. What lies beyond the picture is cut off.
        corner: x and y of the trigger's top-left corner, inside the picture.
        opacity: Share of the trigger in its box: with ``a = int(255 * (1 - opacity))``, a pixel
            becomes ``(a * image + (255 - a) * trigger) / 255``, rounded to the nearest.

    Returns:
        The stamped picture, (H, W, 3), and the box that has changed.

    Source: Saha et al. 2022, published code, ``alpha_composite = true``; its alpha is the
        picture's share, 1 - opacity. Equal to the last bit, though only the box is computed.
    """
    x, y = corner
    stamped = image.copy()
    region = stamped[y : y + trigger.shape[0], x : x + trigger.shape[1]]
    height, width = region.shape[:2]
    trigger = trigger[:height, :width]
    share = image_share(opacity)
    region[:] = trigger if share == 0 else _blend(region, trigger, share)
    return stamped, Box(x, y, width, height)


def image_share(opacity: float) -> int:
    """Return the picture's share in the box, in 255ths, cut as the published code cuts it.

    Args:
        opacity: Share of the trigger, in [0, 1].
    """
    return int(255 * round(1 - opacity, 12))  # 1 - .8 is a little below .2


def _blend(image: Pixels, trigger: Pixels, share: int) -> NDArray[np.uint16]:
    # 255 * 255 + 127 fits 16 bits. Pillow's Image.alpha_composite gives the same for all values.
    mixed = image * np.uint16(share) + trigger * np.uint16(255 - share)
    return (mixed + np.uint16(127)) // np.uint16(255)
