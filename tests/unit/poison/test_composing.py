"""Poisons that are made of several images, and poisons that are added."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.factories import DATASET

from backbench.errors import ResultError
from backbench.images import ArrayImages, Overlay, Subset, Unlabelled
from backbench.plugin import Attack, Box, Options, Part, PoisonContext, Recipe, Stamp
from backbench.poison.access import Access
from backbench.poison.manifest import ManifestEntry, pixel_hash
from backbench.poison.poisoning import Poison
from backbench.store.metadata import PoisonRecord
from backbench.system.json_text import from_json
from backbench.views.batches import MixedBatch, UniformBatch, open_source


def images(count: int = 6, seed: int = 0) -> ArrayImages:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return ArrayImages(pixels, np.arange(count) % 3, [f"train/{i}" for i in range(count)])


class Beside(Attack):
    """Puts images beside each other; the trigger covers the first of them."""

    target = 1

    def __init__(self, *recipes: Recipe) -> None:
        super().__init__(Options(), DATASET)
        self.listed = recipes

    def recipes(self, context: PoisonContext, rng: Any) -> Any:
        return self.listed

    def compose(self, parts: Any, rng: Any) -> Stamp:
        return Stamp(np.concatenate(parts, axis=1), Box(0, 0, 8, 8), 1.0)

    def stamp(self, image: Any, rng: Any, split: Any) -> Stamp:
        raise NotImplementedError


ADDED = Recipe((Part("train", 4), Part("more", 1)), None)
REPLACED = Recipe((Part("train", 2),), 3)


def poison(*recipes: Recipe) -> Poison:
    access = Access(images(), {"more": lambda: images(2, seed=1)})
    return Poison(Beside(*recipes), access, 0)


def test_added_poisons_follow_the_images_and_replaced_ones_keep_their_place() -> None:
    made = poison(ADDED, REPLACED, ADDED)
    assert list(made) == [3, 6, 7]
    base, other = images(), images(2, seed=1)
    np.testing.assert_array_equal(made[3], base.image(2))
    np.testing.assert_array_equal(made[6], np.hstack([base.image(4), other.image(1)]))


def test_the_manifest_names_every_part() -> None:
    (replaced, added), base = [mark for mark, _ in poison(ADDED, REPLACED).described()], images()
    assert (replaced.index, replaced.source, replaced.label) == (3, "train/3", 0)
    assert replaced.before == pixel_hash(base.image(3))
    assert (added.index, added.source, added.label, added.before) == (6, "poison/000000", -1, "")
    assert [(part.set, part.index, part.source) for part in added.parts] == [
        ("train", 4, "train/4"),
        ("more", 1, "train/1"),
    ]
    assert added.parts[0].sha256 == pixel_hash(base.image(4))
    assert added.size == (8, 16)
    assert ManifestEntry.of(from_json(added.line())) == added


def test_a_poison_that_is_a_training_image_as_it_was_does_not_show() -> None:
    (made, _), base, other = next(poison(ADDED).described()), images(), images(2, 1)
    assert made.shows
    assert not replace(made, after=pixel_hash(base.image(4))).shows
    assert replace(made, after=pixel_hash(other.image(1))).shows  # the attacker's own image
    (replaced, _) = next(poison(REPLACED).described())
    assert not replace(replaced, after=replaced.before).shows


def test_rates_are_of_the_final_training_set() -> None:
    made = poison(ADDED, REPLACED, ADDED)
    found = PoisonRecord.of(0, ("a", "b", "c"), made.chosen, images().labels, made.threat)
    assert (found.poisons, found.added, found.rate_of_dataset) == (3, 2, 3 / 8)
    assert found.rate_of_target_class == 1 / 2  # image 3 is of class 0, and an added poison of none
    assert found.threat == {"labels": [], "sets": {"more": 2}, "features": False}


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (((0,), None), "it must be a Recipe of one part or more"),
        (Recipe((), None), "it must be a Recipe of one part or more"),
        (Recipe((0,), None), "has the part 0: it must be a Part"),  # type: ignore[arg-type]
        (Recipe((Part("less", 0),), None), "one of the sets train, more"),
        (Recipe((Part("more", 2),), None), "has image 2 of 'more', which has 2 images"),
        (Recipe((Part("train", True),), None), "it must be a Part"),
        (Recipe((Part("train", 0),), 6), "replaces 6: it must be the index of a training image"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_one_sentence(recipe: Any, sentence: str) -> None:
    with pytest.raises(ResultError) as caught:
        poison(recipe)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("recipe 0 of the attack ")


def test_an_attack_sees_no_label_that_it_does_not_request() -> None:
    access = Access(images())
    context = access.context()
    assert set(context.sets["train"].labels) == {-1}
    assert access.threat["labels"] == []
    np.testing.assert_array_equal(context.labels("train"), images().labels)
    assert access.threat["labels"] == ["train"]
    with pytest.raises(ResultError, match="its sets are train"):
        context.labels("more")
    with pytest.raises(ResultError, match="must state reads_encoder=True"):
        context.features()


class Anywhere(Attack):
    """Poisons the last image of class 1, or of all if it knows no classes."""

    target = None
    reads_labels = False

    def choose(self, labels: Any, rng: Any) -> Any:
        return np.flatnonzero((labels == 1) if self.reads_labels else (labels == -1))[-1:]

    def stamp(self, image: Any, rng: Any, split: Any) -> Stamp:
        raise NotImplementedError


class OfAClass(Anywhere):
    reads_labels = True


@pytest.mark.parametrize(("kind", "index", "known"), [(Anywhere, 5, []), (OfAClass, 4, ["train"])])
def test_the_threat_model_states_labels_if_the_choice_reads_them(
    kind: Any, index: int, known: list[str]
) -> None:
    made = Poison(kind(Options(), DATASET), Access(images()), 0)
    assert list(made) == [index]
    assert made.threat["labels"] == known


def overlay() -> tuple[Overlay, dict[int, Any]]:
    wide = np.full((8, 16, 3), 7, np.uint8)
    changed = {1: wide, 4: np.zeros((8, 8, 3), np.uint8), 6: wide + 1, 7: images(1, 9).image(0)}
    return Overlay(images(), changed), changed


def test_an_overlay_holds_added_images_of_any_size() -> None:
    found, changed = overlay()
    assert len(found) == 8
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2, -1, -1]
    assert found.sources[6:] == ("poison/000000", "poison/000001")
    assert (found.pixels, found.size) == (None, (8, 8))
    for part, order in ((found, range(8)), (Unlabelled(found), range(8))):
        stacked = {int(i): one for stack in part.stacks for i, one in zip(*stack, strict=True)}
        assert sorted(stacked) == list(order)
        for index in order:
            np.testing.assert_array_equal(stacked[index], found.image(index))
            np.testing.assert_array_equal(part.image(index), found.image(index))
    few = Subset(found, np.array([6, 0]))
    np.testing.assert_array_equal(few.image(0), changed[6])
    np.testing.assert_array_equal(few.image(1), images().image(0))


def test_added_images_of_one_size_stay_one_array() -> None:
    found = Overlay(images(), {6: np.zeros((8, 8, 3), np.uint8)})
    assert found.pixels is not None
    assert found.pixels.shape == (7, 8, 8, 3)
    assert not found.pixels[6].any()


def test_a_batch_of_two_sizes_is_cut_as_each_size_alone() -> None:
    """A clean image has the same views, to the last bit, whatever else is in the training set."""
    found, _ = overlay()
    order = np.array([6, 0, 1, 5])
    with open_source(found, torch.device("cpu")) as source:
        (batch,) = source.batches(order, 4, epoch=0, seed=0)
    assert isinstance(batch, MixedBatch)
    assert batch.sizes.tolist() == [[8, 16], [8, 8], [8, 16], [8, 8]]
    boxes = np.array([[0, 4, 8, 8], [1, 1, 6, 6], [0, 0, 8, 16], [0, 2, 5, 5]], np.float32)
    flip = np.array([True, False, True, False])
    views = batch.crop(boxes, 8, flip=flip)
    for row, index in enumerate(order):
        pixels = torch.from_numpy(found.image(int(index)).copy())[None]
        alone = UniformBatch(pixels, order[row : row + 1], epoch=0, seed=0)
        expected = alone.crop(boxes[row : row + 1], 8, flip=flip[row : row + 1])
        torch.testing.assert_close(views[row], expected[0], rtol=0, atol=1e-6)
