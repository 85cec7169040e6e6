"""The trigger in the views, against closed forms of crops whose places are known."""

from __future__ import annotations

import numpy as np
import pytest

from backbench.options.views import ViewOptions
from backbench.plugin import Box
from backbench.views.visibility import Visibility, visibility

COUNT = 20_000
SIDE, CROP = 32, 20
#: Squares of 20 pixels, anywhere on images of 32.
SQUARES = ViewOptions(scale=((CROP / SIDE) ** 2, (CROP / SIDE) ** 2), ratio=(1, 1))
SIZES = np.full((COUNT, 2), SIDE)


def pair(single: np.ndarray) -> Visibility:
    """Two independent views, each with the trigger with a probability; its mean over poisons."""
    both, none = (single**2).mean(), ((1 - single) ** 2).mean()
    return Visibility(both, 1 - both - none, none)


def close(found: Visibility, expected: Visibility) -> None:
    for got, wanted in zip(found, expected, strict=True):
        assert got == pytest.approx(wanted, abs=4 * np.sqrt(wanted * (1 - wanted) / COUNT) + 1e-9)
    assert sum(found) == pytest.approx(1)


@pytest.mark.parametrize("at", [(0, 0), (5, 30), (15, 15)])
def test_a_pixel(at: tuple[int, int]):
    """Of 13 places on an axis, a crop of 20 holds pixel x from max(0, x - 19) to min(12, x)."""
    along = [(min(SIDE - CROP, x) - max(0, x - CROP + 1) + 1) / (SIDE - CROP + 1) for x in at]
    found = visibility(SQUARES, SIZES, [(Box(*at, 1, 1),)] * COUNT, seed=1)
    close(found, pair(np.array([along[0] * along[1]])))


def probability(x: int, y: int, width: int, height: int) -> float:
    """Count the crops that hold half of a box."""
    places = np.arange(SIDE - CROP + 1)
    across = np.minimum(x + width, places + CROP) - np.maximum(x, places)
    down = np.minimum(y + height, places + CROP) - np.maximum(y, places)
    area = np.maximum(across, 0)[None, :] * np.maximum(down, 0)[:, None]
    return float((2 * area >= width * height).mean())


def test_a_trigger_at_places_that_are_the_same_for_both_views():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, SIDE - 7, (COUNT, 2)).tolist()
    found = visibility(SQUARES, SIZES, [(Box(x, y, 8, 6),) for x, y in corners], seed=2)
    table = {(x, y): probability(x, y, 8, 6) for x in range(25) for y in range(25)}
    close(found, pair(np.array([table[x, y] for x, y in corners])))


def test_any_copy_counts_and_whole_images_lose_nothing():
    far = [(Box(0, 0, 2, 2), Box(14, 14, 2, 2))] * 500
    held = visibility(SQUARES, SIZES[:500], far, seed=0)
    assert held == Visibility(1, 0, 0)  # every crop of 20 holds the middle
    whole = ViewOptions(scale=(1, 1), ratio=(1, 1))
    assert visibility(whole, SIZES[:9], [(Box(0, 0, 1, 1),)] * 9, seed=0) == Visibility(1, 0, 0)


def test_height_is_not_width():
    sizes = np.tile((20, 200), (400, 1))
    square = ViewOptions(scale=(0.1, 0.1), ratio=(1, 1))  # 20 x 20 of 20 x 200: at the left or not
    found = visibility(square, sizes, [(Box(190, 0, 10, 20),)] * 400, seed=0)
    assert found.none > 0.8
    assert found.both < 0.02
    assert visibility(square, sizes, [(Box(190, 0, 10, 20),)] * 400, seed=0) == found
