"""Where a trigger goes on an image."""

from __future__ import annotations

from typing import Final

import numpy as np

from backbench_attacks.patch_options import Placement
from backbench_attacks.triggers import Trigger

_GRID: Final = (0.25, 0.5, 0.75)


def corners(
    image: tuple[int, ...],
    trigger: Trigger,
    placement: Placement,
    span: tuple[float, float],
    rng: np.random.Generator,
) -> list[tuple[int, int]]:
    """Say where the top-left corners of a trigger go.

    Args:
        image: Shape of the image, (H, W, ...); the trigger is no larger.
        trigger: What is placed.
        placement: ``random``, ``center``, or ``multiple``: nine places in a grid.
        span: For ``random``: fractions of the image, see :func:`limits`.
        rng: The only source of randomness; drawn from for ``random`` alone, x before y.

    Returns:
        x and y of each, in the order of pasting: of nine, the first column from its top, then
        the second.

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
    """Say between which pixels a random corner lies, on one axis.

    Args:
        image: Length of the image, px.
        extent: Length of the trigger, px.
        offset: From the point that a text is centerd on to its corner, px.
        span: Fractions of the image. A box begins after the first, and where there is room
            ends before the second; it may be cut by the image's border. Of a shape or a text,
            the middle lies between them.
        trigger: What is placed.

    Returns:
        The first and the last place of the corner, both possible.

    Source: Saha et al. 2022, published code, location ``random``.
    Differs: For shapes and texts it has .25 and .75 whatever its options say; here options hold.
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
