"""What an attack promises."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np

from backbench.images import Pixels
from backbench.model import StageKind
from backbench.plugin import Attack, Split, Stamp
from backbench.testing.base import (
    PluginContract,
    global_generators_untouched,
    inputs_untouched,
    sample_images,
)
from backbench.testing.hygiene import assert_same, run_twice

_SPLITS: tuple[Split, ...] = get_args(Split)


class AttackContract(PluginContract):
    """Subclass it, and set ``info`` and, where the defaults do not fit, ``options``."""

    base = "Attack"

    def attack(self) -> Attack:
        """Make the attack anew, as each worker does."""
        made: Attack = self.implementation()(self.settings(), self.metadata)
        return made

    def image(self) -> Pixels:
        """Make an image to stamp, of the size of the contract's dataset."""
        return sample_images(self.metadata).image(0)

    def stamps(self, split: Split) -> list[Stamp]:
        """Stamp the image under several seeds, from 0."""
        return [
            self.attack().stamp(self.image(), np.random.default_rng(seed), split)
            for seed in range(5)
        ]

    def test_target_is_a_class_or_none(self) -> None:
        target = self.attack().target
        assert target is None or target in range(len(self.metadata.classes))

    # -- choose -------------------------------------------------------------------------------

    def test_choice_is_distinct_and_in_range(self) -> None:
        """One image or more, none twice, none that is not there; as many as announced."""
        labels = sample_images(self.metadata).labels
        chosen = np.asarray(self.attack().choose(labels, np.random.default_rng(0)))
        assert chosen.ndim == 1
        assert np.issubdtype(chosen.dtype, np.integer)
        assert 0 < len(np.unique(chosen)) == len(chosen)
        assert chosen.min() >= 0
        assert chosen.max() < len(labels)
        assert self.attack().poisons in {None, len(chosen)}

    def test_choice_depends_on_the_generator_alone(self) -> None:
        """Equal generators give equal choices, for any instance and any number of calls."""
        labels, attack = sample_images(self.metadata).labels, self.attack()
        with global_generators_untouched():
            first = attack.choose(labels, np.random.default_rng(7))
            again = attack.choose(labels, np.random.default_rng(7))
            other = self.attack().choose(labels, np.random.default_rng(7))
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(first, other)

    def test_labels_are_not_changed(self) -> None:
        """Poisons keep their labels: self-supervised training does not see them."""
        with inputs_untouched():
            self.attack().choose(sample_images(self.metadata).labels, np.random.default_rng(0))

    def test_poisons_do_not_follow_from_the_validation_split(self, tmp_path: Path) -> None:
        folders = run_twice(tmp_path, self, StageKind.POISON)
        assert_same(folders, "train.jsonl", "images.safetensors")

    # -- stamp --------------------------------------------------------------------------------

    def test_stamp_does_not_change_its_input(self) -> None:
        with inputs_untouched():
            for split in _SPLITS:
                self.attack().stamp(self.image(), np.random.default_rng(0), split)

    def test_stamp_keeps_shape_and_dtype(self) -> None:
        for stamp in (stamp for split in _SPLITS for stamp in self.stamps(split)):
            assert stamp.pixels.shape == self.image().shape
            assert stamp.pixels.dtype == np.uint8

    def test_stamp_depends_on_image_generator_and_split_alone(self) -> None:
        """The triggered images are stamped again, in another process, when they are read."""
        attack, image = self.attack(), self.image()
        for split in _SPLITS:
            with global_generators_untouched():
                first = attack.stamp(image, np.random.default_rng(7), split)
                attack.stamp(255 - image, np.random.default_rng(8), split)
                again = attack.stamp(image, np.random.default_rng(7), split)
                other = self.attack().stamp(image, np.random.default_rng(7), split)
            for stamp in (again, other):
                np.testing.assert_array_equal(first.pixels, stamp.pixels)
                assert (first.boxes, first.opacity) == (stamp.boxes, stamp.opacity)

    def test_stamp_changes_the_image_inside_its_boxes_only(self) -> None:
        """The manifest says where the trigger is: nothing may change elsewhere."""
        image = self.image()
        for split in _SPLITS:
            for seed, stamp in enumerate(self.stamps(split)):
                changed = (stamp.pixels != image).any(axis=2)
                for x, y, width, height in stamp.boxes:
                    changed[y : y + height, x : x + width] = False
                assert not changed.any(), f"{split}, seed {seed}: changed outside {stamp.boxes}"

    def test_stamp_shows(self) -> None:
        image = self.image()
        for split in _SPLITS:
            assert any((stamp.pixels != image).any() for stamp in self.stamps(split))

    def test_boxes_lie_on_the_image(self) -> None:
        """Each reported box has an area and is inside the image; opacity is a share."""
        height, width = self.image().shape[:2]
        for stamp in (stamp for split in _SPLITS for stamp in self.stamps(split)):
            for box in stamp.boxes:
                assert min(box.x, box.y) >= 0
                assert min(box.width, box.height) > 0
                assert box.x + box.width <= width
                assert box.y + box.height <= height
            assert 0 < stamp.opacity <= 1
