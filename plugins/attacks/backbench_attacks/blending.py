"""How a trigger is put on an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backbench.images import Pixels
from backbench.plugin import Box
from backbench_attacks.triggers import Trigger, image_share


def put(
    image: Pixels, trigger: Trigger, corners: Sequence[tuple[int, int]], opacity: float = 1.0
) -> tuple[Pixels, tuple[Box, ...]]:
    """Put a trigger on an image, at one place or at several.

    With ``share`` for the image's share in 255ths, a pixel becomes
    ``(share * image + (255 - share) * trigger) / 255``, rounded to the nearest. For a box,
    ``share`` is ``int(255 * (1 - opacity))``; where k boxes overlap it is
    ``int(255 * (1 - opacity) ** k)``, and the last one gives the color. For a shape or a text it
    is 255 less the mask, and overlapping ones are put on one after another.

    Args:
        image: (H, W, 3), uint8; not modified.
        trigger: What to put there. What lies beyond the right or lower border is cut off.
        corners: x and y of the top-left corners, on the image.
        opacity: Share of a box; a shape's or a text's is in its mask.

    Returns:
        The stamped image, (H, W, 3), and the boxes that have changed, in the order of pasting.

    Source: Saha et al. 2022, published code. Equal to the last bit, though only boxes are computed.
    Differs: Overlapping letters are a little darker than one letter; there they are not.
    """
    stamped = image.copy()
    boxes = tuple(_cut(image, trigger, corner) for corner in corners)
    if trigger.mask is not None:
        for x, y, width, height in boxes:
            region = stamped[y : y + height, x : x + width]
            mask = trigger.mask[:height, :width, None]
            region[:] = _blend(region, trigger.pixels[:height, :width], 255 - mask)
    elif len(boxes) == 1:
        ((x, y, width, height),) = boxes
        region, above = stamped[y : y + height, x : x + width], trigger.pixels[:height, :width]
        share = image_share(opacity)
        region[:] = above if share == 0 else _blend(region, above, np.uint8(share))
    else:
        above, shares = image.copy(), np.full(image.shape[:2], 255.0)
        for x, y, width, height in boxes:
            above[y : y + height, x : x + width] = trigger.pixels[:height, :width]
            shares[y : y + height, x : x + width] *= round(1 - opacity, 12)
        stamped[:] = _blend(image, above, shares.astype(np.uint8)[..., None])
    return stamped, boxes


def _cut(image: Pixels, trigger: Trigger, corner: tuple[int, int]) -> Box:
    (x, y), (width, height) = corner, trigger.size
    return Box(x, y, min(width, image.shape[1] - x), min(height, image.shape[0] - y))


def _blend(
    image: Pixels, trigger: Pixels, share: NDArray[np.uint8] | np.uint8
) -> NDArray[np.uint16]:
    # 255 * 255 + 127 fits 16 bits. Pillow's alpha_composite and paste give the same for all values.
    own = np.asarray(share, np.uint16)
    mixed = image * own + trigger * (np.uint16(255) - own)
    return (mixed + np.uint16(127)) // np.uint16(255)
