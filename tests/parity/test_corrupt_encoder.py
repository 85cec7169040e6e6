"""CorruptEncoder against the layout of its canvas."""

from __future__ import annotations

import numpy as np
import pytest

from backbench.images import ArrayImages
from backbench.plugin import DatasetMetadata
from backbench.poison.access import Access
from backbench.poison.choice import choose
from backbench_attacks.corrupt_encoder import CorruptEncoder, cut_out, paste
from backbench_attacks.corrupt_encoder_options import CorruptEncoderOptions

DATA = DatasetMetadata(("a", "b"), 40, 4, (40, 40), (20, 20))


def attack(**options: object) -> CorruptEncoder:
    given = {"target": "b", "rate": {"of": "count", "value": 10}, "width": 8, **options}
    return CorruptEncoder(CorruptEncoderOptions.model_validate(given), DATA)


def masked() -> np.ndarray:
    """Return a red object, 30 x 24 pixels, on an image of 40 x 50."""
    image = np.zeros((40, 50, 4), np.uint8)
    image[6:36, 10:34] = (255, 0, 0, 255)
    return image


def test_an_object_is_cut_out_by_its_mask() -> None:
    pixels, mask = cut_out(masked())
    assert (pixels.shape, mask.shape) == ((30, 24, 3), (30, 24))
    assert (pixels == (255, 0, 0)).all()
    whole = np.ones((9, 7, 3), np.uint8)
    assert cut_out(whole)[1].shape == (9, 7)
    assert cut_out(np.zeros((9, 7, 4), np.uint8))[0].shape == (9, 7, 3)


def test_the_canvas_is_that_of_the_paper() -> None:
    """b_w = 2 o_w and b_h = o_h; object at an edge; trigger in the middle of the other half."""
    made, sides = attack(), set()
    background = np.zeros((64, 48, 3), np.uint8)
    for seed in range(40):
        stamp = made.compose([background, masked()], np.random.default_rng(seed))
        assert stamp.pixels.shape == (30, 48, 3)
        red = (stamp.pixels[..., 0] > 127) & (stamp.pixels[..., 1:] == 0).all(axis=2)
        ((x, y, width, height),) = stamp.boxes
        red[y : y + height, x : x + width] = False
        columns = np.flatnonzero(red.any(axis=0))
        at_left = bool(columns[0] < 12)
        sides.add(at_left)
        edge = columns[0] if at_left else 47 - columns[-1]
        assert edge <= 0.05 * 48 + 1
        start = 24 if at_left else 0
        assert start + 6 <= x <= start + 24 - 6 - 8
        assert 7 <= y <= 22 - 8
        box = stamp.pixels[y : y + height, x : x + width]
        np.testing.assert_array_equal(box, made.options.made_trigger.pixels)
    assert sides == {True, False}


def test_the_edge_of_an_object_is_soft() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[3:6, 3:6] = 255
    made = paste(np.zeros((9, 20, 3), np.uint8), np.full((9, 9, 3), 200, np.uint8), mask, 4)
    assert 0 < made[4, 4 + 2, 0] < made[4, 4 + 3, 0] < made[4, 4 + 4, 0] <= 200
    assert not made[:, :4].any()


def test_a_large_canvas_is_limited() -> None:
    parts = [np.zeros((64, 64, 3), np.uint8), masked()]
    stamp = attack(max_side=40).compose(parts, np.random.default_rng(0))
    assert stamp.pixels.shape == (25, 40, 3)


def test_a_fifth_joins_a_support_image_and_a_reference() -> None:
    pixels = np.zeros((40, 40, 40, 3), np.uint8)
    labels = np.arange(40) % 2
    images = ArrayImages(pixels, labels, [str(i) for i in range(40)])
    made = attack(support_ratio=0.2, references=3, supports=4)
    recipes = list(choose(made, Access(images), 0).values())
    supported = [one for one in recipes if len(one.parts) == 3]
    assert (len(recipes), len(supported)) == (10, 2)
    assert all(one.replaces is None for one in recipes)
    references = {one.parts[1].index for one in recipes}
    supports = {one.parts[0].index for one in supported}
    assert len(references) <= 3
    assert not references & supports
    assert {labels[index] for index in references | supports} == {1}
    assert {labels[one.parts[0].index] for one in recipes if len(one.parts) == 2} == {0}
    light = np.full((40, 40, 3), 255, np.uint8)
    stamp = made.compose([light, light // 2, light // 2], np.random.default_rng(0))
    assert (stamp.pixels.shape, stamp.boxes) == ((40, 80, 3), ())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"target": "c"}, "target: there is no class 'c'"),
        ({"references": 21}, "references: 21 images of the target class are wanted"),
        ({"references": 16, "support_ratio": 0.2}, "references: 21 images of the target class"),
    ],
)
def test_options_that_cannot_work_are_one_sentence(options: dict[str, object], sentence: str):
    given = {"target": "b", "rate": {"of": "count", "value": 6}, "width": 8, **options}
    (found,) = CorruptEncoderOptions.model_validate(given).problems(DATA)
    assert sentence in found


def test_a_trigger_that_does_not_fit_names_the_option() -> None:
    parts = [np.zeros((64, 64, 3), np.uint8), masked()]
    with pytest.raises(ValueError, match="larger than the half of a canvas, 24 x 30; make width"):
        attack(width=26).compose(parts, np.random.default_rng(0))
