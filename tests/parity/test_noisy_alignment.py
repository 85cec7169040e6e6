"""Noisy Alignment against its canvas, written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from backbench.images import ArrayImages, Pixels
from backbench.plugin import DatasetMetadata
from backbench.poison.access import Access
from backbench.poison.choice import choose
from backbench_attacks.noisy_alignment import NoisyAlignment, aligned
from backbench_attacks.noisy_alignment_options import NoisyAlignmentOptions

DATA = DatasetMetadata(("a", "b"), 20, 4, (32, 32), (10, 10))


def attack(**options: object) -> NoisyAlignment:
    given = {"target": "b", "rate": {"of": "count", "value": 6}, "width": 8, **options}
    return NoisyAlignment(NoisyAlignmentOptions.model_validate(given), DATA)


def pair() -> tuple[Pixels, Pixels]:
    rng = np.random.default_rng(0)
    dark, light = rng.integers(0, 100, (2, 32, 32, 3), dtype=np.uint8)
    return dark, light + np.uint8(150)


def by_hand(shadow: Pixels, reference: Pixels, order: int, trigger: Pixels) -> Pixels:
    """Paste p on x_s, and write x_s + p and x_r into an empty canvas, pixel by pixel."""
    triggered = [[list(pixel) for pixel in row] for row in shadow.tolist()]
    first = int(32 * 0.45)
    for y in range(8):
        for x in range(8):
            for c in range(3):
                # a fifth of the image is left; 51 of 255, to the nearest
                mixed = 51 * int(shadow[first + y, first + x, c]) + 204 * int(trigger[y, x, c])
                triggered[first + y][first + x][c] = (mixed + 127) // 255
    made = np.array(triggered, np.uint8)
    height, width = (32, 64) if order < 2 else (64, 32)
    canvas = np.zeros((height, width, 3), np.uint8)
    halves = (made, reference) if order % 2 == 0 else (reference, made)
    for number, half in enumerate(halves):
        for y in range(32):
            for x in range(32):
                at = (y, x + 32 * number) if order < 2 else (y + 32 * number, x)
                canvas[at] = half[y, x]
    return canvas


def test_a_poison_is_the_canvas_in_each_of_four_orders() -> None:
    shadow, reference = pair()
    made, seen = attack(), set()
    trigger = made.options.made_trigger.pixels
    expected = [by_hand(shadow, reference, order, trigger) for order in range(4)]
    for seed in range(24):
        stamp = made.compose([shadow, reference], np.random.default_rng(seed))
        (order,) = [i for i, one in enumerate(expected) if np.array_equal(one, stamp.pixels)]
        seen.add(order)
        x, y, width, height = stamp.box
        begin = int(32 * 0.45)
        other = 32 * (order % 2)
        assert (x, y) == ((begin + other, begin) if order < 2 else (begin, begin + other))
        assert (width, height, stamp.opacity) == (8, 8, 0.8)
    assert seen == {0, 1, 2, 3}


def test_a_squeezed_canvas_has_the_size_of_its_reference() -> None:
    shadow, reference = pair()
    made = attack(canvas="squeezed", opacity=1.0)
    for seed in range(8):
        stamp = made.compose([shadow, reference], np.random.default_rng(seed))
        assert stamp.pixels.shape == reference.shape
        x, y, width, height = stamp.box
        box = stamp.pixels[y : y + height, x : x + width]
        np.testing.assert_array_equal(box, made.options.made_trigger.pixels)
        light = (stamp.pixels >= 140).all(axis=2)
        light[y : y + height, x : x + width] = False
        assert light.mean() == pytest.approx(0.5, abs=0.08)


def test_sides_in_common_are_brought_to_the_smaller() -> None:
    small, large = np.zeros((20, 30, 3), np.uint8), np.zeros((40, 50, 3), np.uint8)
    beside = [one.shape[:2] for one in aligned(small, large, horizontal=True)]
    above = [one.shape[:2] for one in aligned(large, small, horizontal=False)]
    assert (beside, above) == ([(20, 30), (20, 25)], [(24, 30), (20, 30)])


def test_references_are_of_the_target_and_shadows_are_not() -> None:
    pixels = np.zeros((20, 32, 32, 3), np.uint8)
    labels = np.arange(20) % 2
    images = ArrayImages(pixels, labels, [str(i) for i in range(20)])
    recipes = choose(attack(references=4, shadows=5), Access(images), 0)
    assert list(recipes) == list(range(20, 26))
    shadows, references = zip(*(one.parts for one in recipes.values()), strict=True)
    assert {labels[part.index] for part in references} == {1}
    assert {labels[part.index] for part in shadows} == {0}
    assert len({part.index for part in references}) == 4
    assert len({part.index for part in shadows}) == 5
    replaced = choose(attack(replace=True), Access(images), 0)
    assert [index for index, one in replaced.items() if one.parts[1].index != index] == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"target": "c"}, "target: there is no class 'c'"),
        ({"width": 40}, "width: the trigger is 40 x 40 px, larger than an image of 32 x 32"),
        ({"references": 11}, "references: 11 images are wanted, and there are 10"),
        ({"shadows": 11}, "shadows: 11 images are wanted, and there are 10"),
        ({"replace": True, "references": 2}, "6 poisons cannot take the places of 2 references"),
        ({"rate": {"of": "count", "value": 11}, "replace": True}, "only 10 may be poisoned"),
    ],
)
def test_options_that_cannot_work_are_one_sentence(options: dict[str, object], sentence: str):
    given = {"target": "b", "rate": {"of": "count", "value": 6}, "width": 8, **options}
    (found,) = NoisyAlignmentOptions.model_validate(given).problems(DATA)
    assert sentence in found


def test_added_poisons_may_be_more_than_the_target_class_has_images():
    given = {"target": "b", "rate": {"of": "count", "value": 11}, "width": 8}
    options = NoisyAlignmentOptions.model_validate(given)
    assert list(options.problems(DATA)) == []
    assert options.added_images(DATA) == 11
