"""Triggers: made, read, resized, placed and blended (published pixels: tests/parity)."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from backbench_attacks.patch_options import PatchOptions
from backbench_attacks.placement import corners, put
from backbench_attacks.triggers import (
    Trigger,
    image_share,
    load_trigger,
    make_trigger,
    resize_trigger,
)


def short_hash(pixels):
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


def boxed(pixels):
    return Trigger("box", pixels)


@pytest.mark.parametrize("share", [0, 1, 25, 63, 127, 128, 200, 254])
def test_blend_is_pillows_alpha_composite(share):
    image, trigger = (v.astype(np.uint8) for v in np.meshgrid(np.arange(256), np.arange(256)))
    opacity = 1 - (share + 0.5) / 255
    assert image_share(opacity) == share
    stack = [np.stack([v] * 3, axis=-1) for v in (image, trigger)]
    stamped, _ = put(stack[0], boxed(stack[1]), [(0, 0)], opacity)
    above = np.dstack([stack[0], np.full((256, 256), share, np.uint8)])
    below = np.dstack([stack[1], np.full((256, 256), 255, np.uint8)])
    oracle = Image.alpha_composite(Image.fromarray(below), Image.fromarray(above)).convert("RGB")
    assert np.array_equal(stamped, np.asarray(oracle))


@pytest.mark.parametrize("alpha", [i / 100 for i in range(100)])
def test_image_share_is_the_published_alpha_in_255ths(alpha):
    assert image_share(1 - alpha) == int(255 * alpha)


def test_box_is_what_changed_and_is_cut_at_the_border():
    image = np.zeros((48, 60, 3), np.uint8)
    stamped, boxes = put(image, boxed(np.full((50, 50, 3), 9, np.uint8)), [(15, 12)])
    assert boxes == ((15, 12, 45, 36),)
    assert np.all(stamped[12:, 15:] == 9)
    assert int(stamped.astype(int).sum()) == 9 * 3 * 45 * 36


@pytest.mark.parametrize(
    ("image", "trigger", "span", "x_range", "y_range"),
    [
        ((224, 224), (50, 50), (0.10, 0.90), (22, 151), (22, 151)),
        ((375, 500), (50, 50), (0.25, 0.75), (125, 325), (93, 231)),
        ((48, 60), (50, 50), (0.25, 0.75), (15, 15), (12, 12)),
        ((32, 32), (8, 8), (0.25, 0.75), (8, 16), (8, 16)),
    ],
)
def test_places_fill_exactly_the_published_range(image, trigger, span, x_range, y_range):
    rng = np.random.default_rng(0)
    patch = boxed(np.zeros((*trigger, 3), np.uint8))
    drawn = np.array([corners(image, patch, "random", span, rng)[0] for _ in range(4000)])
    assert (drawn[:, 0].min(), drawn[:, 0].max()) == x_range
    assert (drawn[:, 1].min(), drawn[:, 1].max()) == y_range


PINNED = ["3d14e22ced122fab", "e334fac9205bd86d", "0ca8bf2c198ef0f6"]


def test_made_triggers_are_pinned():
    # A change of these bytes changes every result made with a numbered trigger.
    assert [short_hash(make_trigger(n)) for n in (0, 1, 10)] == PINNED
    assert make_trigger(0).shape == (80, 80, 3)
    assert len({short_hash(make_trigger(n)) for n in range(200)}) == 200


def test_made_trigger_is_smooth_with_pure_colors_in_the_cells():
    trigger = make_trigger(3).astype(int)
    assert np.abs(np.diff(trigger, axis=0)).max() <= 22
    centers = trigger[10::20, 10::20]
    assert np.all(np.minimum(centers, 255 - centers) <= 8)


@pytest.mark.parametrize(
    ("shape", "width", "expected"),
    [
        ((80, 80), 50, (50, 50)),
        ((30, 100), 8, (2, 8)),
        ((1, 100), 8, (1, 8)),
        ((101, 64), 10, (15, 10)),
    ],
)
def test_height_follows_the_shape_and_is_cut_to_whole_pixels(shape, width, expected):
    assert resize_trigger(np.zeros((*shape, 3), np.uint8), width).shape == (*expected, 3)


def test_transparent_trigger_is_laid_on_white(tmp_path):
    path = tmp_path / "logo.png"
    Image.new("RGBA", (4, 4), (200, 0, 0, 0)).save(path)
    assert np.all(load_trigger(path) == 255)


@pytest.mark.parametrize(
    "huge", [{"width": 10**9}, {"text": "a", "text_size": 10**9}, {"text": "a" * 10**6}]
)
def test_a_trigger_that_would_take_all_memory_is_one_sentence(huge):
    options = PatchOptions(target="a", **huge)
    with pytest.raises(ValueError, match="smaller"):
        options.make_trigger("train")
