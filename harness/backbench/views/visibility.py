"""Share of views of a poison in which its trigger is still visible. No torch.

An attack that works by two views of a poison cannot work where the trigger is hardly ever in both.
Crops alone decide here: what blur, colors and resizing leave of a trigger is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backbench.options.views import ViewOptions
from backbench.plugin import Box
from backbench.views.boxes import crop_boxes
from backbench.views.randomness import Draws

#: Share of a trigger's area that has to be inside a view.
SURVIVES = 0.5

#: A smaller share of pairs with the trigger in both views than this, and the attack cannot work.
LEAST_BOTH = 0.01


class Visibility(NamedTuple):
    """Shares of view pairs with the trigger in both views, in one, in none; they add up to 1."""

    both: float
    one: float
    none: float


def visibility(
    views: ViewOptions, sizes: NDArray[np.int64], boxes: Sequence[Sequence[Box]], seed: int
) -> Visibility:
    """Estimate how often a trigger survives in the views of a pair.

    A trigger survives in a view if at least half of its area, or of one of its copies', lies
    within the crop. Each of the N poisons, with height and width, (N, 2), and the boxes of its
    trigger, gives one pair: the standard error of a share p is √(p (1 − p) / N).
    """
    alive = np.zeros(len(boxes), dtype=np.int64)
    for view in (0, 1):
        draws = Draws(seed, 0, np.arange(len(boxes)), view)
        alive += _inside(crop_boxes(draws, sizes, views.scale, views.ratio), boxes)
    return Visibility(*(float((alive == count).mean()) for count in (2, 1, 0)))


def covers_all(sizes: NDArray[np.int64], boxes: Sequence[Sequence[Box]]) -> bool:
    """Return whether every trigger covers its whole image, so that no crop can lose it."""
    return all(
        (box.height, box.width) == (high, wide)
        for (high, wide), one in zip(sizes.tolist(), boxes, strict=True)
        for box in one
    )


def warning(shares: Visibility) -> str:
    """Return a warning if an attack by pairs of views cannot work; empty if it can."""
    if shares.both >= LEAST_BOTH:
        return ""
    return (
        f"the trigger is in both views of {100 * shares.both:.1f} % of the pairs: an attack by "
        "pairs of views cannot work; make the trigger larger, or the crops (views.scale)"
    )


def _inside(crops: NDArray[np.float32], boxes: Sequence[Sequence[Box]]) -> NDArray[np.bool_]:
    """Return in which crops (N, 4) at least half of one of the boxes lies, (N,)."""
    owner = np.repeat(np.arange(len(boxes)), [len(one) for one in boxes])
    places = np.asarray([box for one in boxes for box in one], dtype=np.float64)
    left, top, wide, tall = places.reshape(-1, 4).T
    upper, leftmost, height, width = crops[owner].astype(np.float64).T
    across = np.minimum(left + wide, leftmost + width) - np.maximum(left, leftmost)
    down = np.minimum(top + tall, upper + height) - np.maximum(top, upper)
    area = np.maximum(across, 0) * np.maximum(down, 0)
    found = np.zeros(len(boxes), dtype=bool)
    np.logical_or.at(found, owner, area >= SURVIVES * wide * tall)
    return found
