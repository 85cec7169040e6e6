"""The published code's poisons to the last bit (golden vectors: the fact sheet, section 2).

The vectors were made by running the published ``add_watermark`` after ``random.seed(0)``, on a
computed image of 500 x 375 px with a computed trigger. Here the places are drawn by the same
generator from our limits, so that limits, placement and blending are compared.
"""

from __future__ import annotations

import hashlib
import random  # noqa: TID251 - the published code's generator

import numpy as np
import pytest
from PIL import Image

from backbench.data.preprocess import crop_center, resize_short_side
from backbench_attacks.placement import corners, put
from backbench_attacks.triggers import Trigger, resize_trigger


class PythonsRandom:
    """Draws as the published code does."""

    def integers(self, low, high, *, endpoint):
        assert endpoint
        return random.randint(low, high)


def base(width=500, height=375):
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([3 * x + 7 * y, 5 * x + 2 * y, x + 4 * y], axis=-1).astype(np.uint8)


def validation(pixels):
    return np.asarray(crop_center(resize_short_side(Image.fromarray(pixels), 256), 224))


def trigger(kind):
    x, y = np.meshgrid(np.arange(80), np.arange(80))
    checks = 255 * ((x // 8 + y // 8) % 2)
    pixels = resize_trigger(np.stack([3 * x, 3 * y, checks], axis=-1).astype(np.uint8), 50)
    return Trigger(kind, pixels, np.full((50, 50), 255, np.uint8) if kind == "shape" else None)


TRAIN, VAL = (0.25, 0.75), (0.10, 0.90)
VECTORS = [
    # placement, blend, alpha, validation, first or last corner, hash
    ("center", "box", 0.0, False, (225, 162), "4b03ccc07929f7b5"),
    ("center", "box", 0.25, False, (225, 162), "bc8d95034dfc349d"),
    ("center", "box", 0.0, True, (87, 87), "f3491950cbee42eb"),
    ("multiple", "box", 0.0, False, (350, 256), "04075a2d2de3671f"),
    ("random", "box", 0.0, False, (223, 200), "d5a8b1193d3f638a"),
    ("random", "box", 0.25, False, (223, 200), "2b635955aba836d1"),
    ("random", "box", 0.0, True, (120, 129), "709365669018b65c"),
    ("random", "box", 0.25, True, (120, 129), "81ba953971f1ceba"),
    ("random", "shape", 0.0, False, (316, 166), "66acd3948b4cba9b"),
    *((place, "box", 1.0, False, None, "e7d16a5e07516ffa") for place in ("center", "random")),
    ("multiple", "box", 1.0, False, None, "e7d16a5e07516ffa"),
    ("random", "box", 1.0, True, None, "e520b0115df49062"),
]


def short_hash(pixels):
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(("placement", "kind", "alpha", "is_val", "corner", "expected"), VECTORS)
def test_golden_vector(*, placement, kind, alpha, is_val, corner, expected):
    image = validation(base()) if is_val else base()
    before = image.copy()
    random.seed(0)
    span = VAL if is_val else TRAIN
    places = corners(image.shape, trigger(kind), placement, span, PythonsRandom())
    stamped, boxes = put(image, trigger(kind), places, 1 - alpha)
    assert short_hash(stamped) == expected
    assert len(boxes) == len(places) == (9 if placement == "multiple" else 1)
    assert corner is None or places[-1] == corner
    assert np.array_equal(image, before)


def test_the_base_is_the_published_one():
    assert short_hash(base()) == "e7d16a5e07516ffa"
    assert short_hash(validation(base())) == "e520b0115df49062"


def test_a_box_on_a_small_image_is_cut():
    image = base(60, 48)
    random.seed(0)
    (place,) = corners(image.shape, trigger("box"), "random", TRAIN, PythonsRandom())
    stamped, boxes = put(image, trigger("box"), [place])
    assert place == (15, 12)
    assert boxes == ((15, 12, 45, 36),)
    assert short_hash(stamped) == "9193c2e936f86796"
