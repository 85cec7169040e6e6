"""What an attack promises."""

# ruff: noqa: S101 - asserting is what a test does

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np

from backbench.images import Pixels
from backbench.model import StageKind
from backbench.plugin import Attack, Split
from backbench.testing.base import PluginContract, global_generators_untouched, pictures
from backbench.testing.hygiene import Trial, assert_same, run_twice

_SPLITS: tuple[Split, ...] = get_args(Split)
_SEEDS = range(5)


class AttackContract(PluginContract):
    """Subclass it, and set ``info`` and, where the defaults do not fit, ``options``."""

    @property
    def base(self) -> type[Attack]:
        """An attack."""
        return Attack

    def attack(self) -> Attack:
        """Make the attack anew, as each worker does."""
        made: Attack = self.implementation()(self.settings(), self.facts)
        return made

    def picture(self) -> Pixels:
        """Make a picture to stamp, of the size of the contract's data set."""
        return pictures(self.facts).image(0)

    def test_target_is_a_class_or_none(self) -> None:
        """The target is an index of the data set's classes."""
        target = self.attack().target
        assert target is None or target in range(len(self.facts.classes))

    # -- choose -------------------------------------------------------------------------------

    def test_choice_is_distinct_and_in_range(self) -> None:
        """One picture or more, none twice, none that is not there; as many as announced."""
        labels = pictures(self.facts).labels
        chosen = np.asarray(self.attack().choose(labels, np.random.default_rng(0)))
        assert chosen.ndim == 1
        assert np.issubdtype(chosen.dtype, np.integer)
        assert 0 < len(np.unique(chosen)) == len(chosen)
        assert chosen.min() >= 0
        assert chosen.max() < len(labels)
        assert self.attack().poisons in {None, len(chosen)}

    def test_choice_depends_on_the_generator_alone(self) -> None:
        """Equal generators give equal choices, whoever is asked and how often."""
        labels, attack = pictures(self.facts).labels, self.attack()
        with global_generators_untouched():
            first = attack.choose(labels, np.random.default_rng(7))
            again = attack.choose(labels, np.random.default_rng(7))
            other = self.attack().choose(labels, np.random.default_rng(7))
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(first, other)

    def test_labels_are_not_changed(self) -> None:
        """Poisons keep their labels: self-supervised training does not see them."""
        labels = pictures(self.facts).labels
        before = labels.copy()
        self.attack().choose(labels, np.random.default_rng(0))
        np.testing.assert_array_equal(labels, before)

    def test_poisons_do_not_follow_from_the_validation_split(self, tmp_path: Path) -> None:
        """Choice and poisons are the same whatever pictures of the evaluation are stamped."""
        trial = Trial(kind=StageKind.POISON, plugin=self.plugin(), facts=self.facts)
        assert_same(run_twice(tmp_path, trial), "train.jsonl", "images.safetensors")

    # -- stamp --------------------------------------------------------------------------------

    def test_stamp_does_not_change_its_input(self) -> None:
        """The clean picture stays clean."""
        picture = self.picture()
        before = picture.copy()
        for split in _SPLITS:
            self.attack().stamp(picture, np.random.default_rng(0), split)
        np.testing.assert_array_equal(picture, before)

    def test_stamp_keeps_shape_and_dtype(self) -> None:
        """A stamped picture is a picture of the same size."""
        for split in _SPLITS:
            stamp = self.attack().stamp(self.picture(), np.random.default_rng(0), split)
            assert stamp.pixels.shape == self.picture().shape
            assert stamp.pixels.dtype == np.uint8

    def test_stamp_depends_on_picture_generator_and_split_alone(self) -> None:
        """The triggered pictures are stamped again, elsewhere, when they are looked at."""
        attack, picture = self.attack(), self.picture()
        for split in _SPLITS:
            with global_generators_untouched():
                first = attack.stamp(picture, np.random.default_rng(7), split)
                attack.stamp(255 - picture, np.random.default_rng(8), split)
                again = attack.stamp(picture, np.random.default_rng(7), split)
                other = self.attack().stamp(picture, np.random.default_rng(7), split)
            for stamp in (again, other):
                np.testing.assert_array_equal(first.pixels, stamp.pixels)
                assert (first.boxes, first.opacity) == (stamp.boxes, stamp.opacity)

    def test_stamp_changes_the_picture_inside_its_boxes_only(self) -> None:
        """The manifest says where the trigger is: nothing may change elsewhere."""
        picture = self.picture()
        for split in _SPLITS:
            for seed in _SEEDS:
                stamp = self.attack().stamp(picture, np.random.default_rng(seed), split)
                changed = (stamp.pixels != picture).any(axis=2)
                for x, y, width, height in stamp.boxes:
                    changed[y : y + height, x : x + width] = False
                assert not changed.any(), f"{split}, seed {seed}: changed outside {stamp.boxes}"

    def test_stamp_shows(self) -> None:
        """Some stamped picture differs from the clean one."""
        picture = self.picture()
        for split in _SPLITS:
            stamps = [
                self.attack().stamp(picture, np.random.default_rng(seed), split).pixels
                for seed in _SEEDS
            ]
            assert any((pixels != picture).any() for pixels in stamps)

    def test_boxes_lie_on_the_picture(self) -> None:
        """Each reported box has an area and is inside the picture; opacity is a share."""
        height, width = self.picture().shape[:2]
        for split in _SPLITS:
            for seed in _SEEDS:
                stamp = self.attack().stamp(self.picture(), np.random.default_rng(seed), split)
                for box in stamp.boxes:
                    assert min(box.x, box.y) >= 0
                    assert min(box.width, box.height) > 0
                    assert box.x + box.width <= width
                    assert box.y + box.height <= height
                assert 0 < stamp.opacity <= 1
