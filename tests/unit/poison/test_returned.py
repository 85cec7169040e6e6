"""What an attack returns is an error that says what it must be, unless it can be used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.factories import DATASET

from backbench.errors import ResultError
from backbench.images import ArrayImages
from backbench.plugin import Attack, Box, Options, Part, Recipe, Stamp
from backbench.poison.access import Access
from backbench.poison.choice import choose
from backbench.poison.poisoning import ImageRef, stamp_image

LABELS = np.repeat(np.arange(3), 2)
IMAGE = np.zeros((8, 8, 3), np.uint8)
FINE = Stamp(np.ones((8, 8, 3), np.uint8), Box(0, 0, 8, 8), 1.0)


class Gives(Attack):
    """Returns what it is made with."""

    target: Any = 1
    chosen: Any = (3, 2)
    stamped: Any = FINE

    def __init__(self, **given: Any) -> None:
        super().__init__(Options(), DATASET)
        vars(self).update(given)

    def choose(self, labels: Any, rng: Any) -> Any:
        return self.chosen

    def stamp(self, image: Any, rng: Any, split: Any) -> Any:
        return self.stamped


def access() -> Access:
    """Return six images of three classes."""
    pixels = np.zeros((6, 8, 8, 3), np.uint8)
    return Access(ArrayImages(pixels, LABELS, [f"train/{i}.png" for i in range(6)]))


@pytest.mark.parametrize("chosen", [(3, 2), np.array([2, 3], np.uint8), range(2, 4)])
@pytest.mark.parametrize("target", [None, 0, np.int64(2)])
def test_indices_of_any_whole_type_are_taken(chosen: Any, target: Any) -> None:
    found = choose(Gives(chosen=chosen, target=target), access(), 0)
    assert list(found) == [2, 3]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"chosen": ()}, "chose no image"),
        ({"chosen": np.ma.masked_equal([2, 3], 3)}, "some are masked"),
        ({"chosen": None}, "chose an array of object, of shape ()"),
        ({"chosen": [1.0, 2.0]}, "chose an array of float64"),
        ({"chosen": [float("nan")]}, "chose an array of float64"),
        ({"chosen": LABELS == 1}, "chose an array of bool"),
        ({"chosen": [[1, 2]]}, "of shape (1, 2)"),
        ({"chosen": [1, 1]}, "an image twice, or one that is not there"),
        ({"chosen": [-1]}, "an image twice, or one that is not there"),
        ({"chosen": np.array([2**64 - 1], np.uint64)}, "or one that is not there"),
        ({"target": 3}, "the attack's target is 3: it must be the index of one of 3 classes"),
        ({"target": -1}, "target is -1"),
        ({"target": True}, "target is True"),
        ({"target": 1.0}, "target is 1.0"),
        ({"target": "b"}, "target is 'b'"),
    ],
)
def test_a_choice_that_cannot_be_used_is_one_sentence(given: Any, sentence: str) -> None:
    with pytest.raises(ResultError) as caught:
        choose(Gives(**given), access(), 0)
    assert sentence in str(caught.value)


class NeverEnds(Gives):
    """Lists recipes without end."""

    def recipes(self, context: Any, rng: Any) -> Any:
        while True:
            yield Recipe((Part("train", 0),), None)


def test_a_list_of_recipes_that_never_ends_is_one_sentence() -> None:
    with pytest.raises(ResultError, match="lists more than 600 recipes for 6 images"):
        choose(NeverEnds(), access(), 0)


def stamped(stamp: Any) -> Any:
    who = ImageRef(0, "train/a.png", 0)
    return stamp_image(Gives(stamped=stamp), IMAGE, who, "train", 0)


def test_the_manifest_has_plain_numbers() -> None:
    box = Box(*map(np.int64, (1, 0, 3, 8)))
    mark = stamped(replace_(box=box, opacity=np.float32(0.5)))[1]
    assert '"boxes": [[1, 0, 3, 8]], "opacity": 0.5' in mark.line()


def replace_(**fields: Any) -> Stamp:
    return FINE._replace(**fields)


@pytest.mark.parametrize(
    ("stamp", "sentence"),
    [
        (None, "gave a NoneType: it must be a Stamp"),
        (IMAGE, "gave a ndarray: it must be a Stamp"),
        (replace_(pixels=IMAGE.tolist()), "it must be a Stamp of an array"),
        (replace_(pixels=IMAGE[:4]), "gave uint8 (4, 8, 3) for uint8 (8, 8, 3)"),
        (replace_(pixels=IMAGE / 1), "gave float64"),
        (replace_(box=Box(1, 0, 8, 8)), "gave (1, 0, 8, 8) for a box on an image of 8 x 8 px"),
        (replace_(box=Box(-1, 0, 2, 2)), "(-1, 0, 2, 2)"),
        (replace_(box=Box(0, 0, 0, 2)), "(0, 0, 0, 2)"),
        (replace_(box=Box(0.0, 0, 2, 2)), "(0.0, 0, 2, 2)"),
        (replace_(others=(Box(0, 7, 2, 2),)), "(0, 7, 2, 2)"),
        (replace_(opacity=float("nan")), "gave the opacity nan: it must be in (0, 1]"),
        (replace_(opacity=1.5), "gave the opacity 1.5"),
    ],
)
def test_a_stamp_that_cannot_be_used_names_the_image(stamp: Any, sentence: str) -> None:
    with pytest.raises(ResultError) as caught:
        stamped(stamp)
    assert str(caught.value).startswith("train/a.png: the attack ")
    assert sentence in str(caught.value)
