"""Position of a trigger on an image, and its pasting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from backbench.plugin import Box, Pixels
from backbench_attacks.patch_options import Placement
from backbench_attacks.triggers import Trigger, image_share

_GRID: Final = (0.25, 0.5, 0.75)


def corners(
    image: tuple[int, ...],
    trigger: Trigger,
    placement: Placement,
    span: tuple[float, float],
    rng: np.random.Generator,
) -> list[tuple[int, int]]:
    """Return x and y of the top-left corners of a trigger, in the order of pasting.

    Args:
        image: Shape of the image, (H, W, ...); the trigger is no larger.
        trigger: What is placed.
        placement: ``random``, ``center``, or ``multiple``: nine in a grid, column by column.
        span: For ``random``: fractions of the image, see :func:`limits`.
        rng: The only source of randomness; drawn from for ``random`` alone, x before y.

    Source: Saha et al. 2022, published code, ``train_location`` and ``val_location``.
    Differs: Another generator, so other draws of the same distribution. Where the published code
        puts a corner beyond the image's left or upper border, or an image or text pasted by
        its own shape beyond any, it is moved onto the image; on photographs of 224 px with a
        trigger of 50 none is.
    """
    (width, height), (x_offset, y_offset) = trigger.size, trigger.offset
    axes = ((image[1], width, x_offset), (image[0], height, y_offset))
    if placement == "random":
        low_high = [limits(*axis, span, trigger) for axis in axes]
        x, y = (int(rng.integers(low, high, endpoint=True)) for low, high in low_high)
        found = [(x, y)]
    else:
        points = _GRID if placement == "multiple" else (None,)
        xs, ys = ([_at(*axis, point, trigger) for point in points] for axis in axes)
        found = [(x, y) for x in xs for y in ys]
    if trigger.kind == "box" and placement == "random":
        return found  # at worst cut by the right and lower border, as published
    return [(_inside(x, *axes[0]), _inside(y, *axes[1])) for x, y in found]


def limits(
    image: int, extent: int, offset: int, span: tuple[float, float], trigger: Trigger
) -> tuple[int, int]:
    """Return the first and the last pixel at which a random corner may lie, on one axis.

    Args:
        image: Length of the image, px.
        extent: Length of the trigger, px.
        offset: From the point that a text is centered on to its corner, px.
        span: Fractions of the image. A box begins after the first, and where there is room
            ends before the second; it may be cut by the image's border. Of a shape or a text,
            the middle lies between them.
        trigger: What is placed.

    Source: Saha et al. 2022, published code, location ``random``.
    Differs: For shapes and texts it has .25 and .75 whatever its options are; here options hold.
    """
    first, second = image * span[0], image * span[1]
    if trigger.kind == "text":
        return int(first) + offset, int(second) + offset
    if trigger.kind == "shape":
        return int(first - extent / 2), int(second - extent / 2)
    return int(first), max(int(first), int(second - extent))


def _at(image: int, extent: int, offset: int, point: float | None, trigger: Trigger) -> int:
    """Return the corner of a trigger whose middle lies at a fraction; ``None`` is the middle."""
    if trigger.kind == "text":
        return int(image * (0.5 if point is None else point)) + offset
    if point is None:
        return int((image - extent) / 2)
    return int(int(image * point) - extent / 2)


def _inside(corner: int, image: int, extent: int, _: int) -> int:
    return min(max(corner, 0), image - extent)


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
