"""Tests that the contracts of all attacks share: those of the stamp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from backbench.images import ImageSet, Pixels, Subset, Unlabelled, read_only
from backbench.plugin import Attack, AttackContext, AttackInfo, Split, Stamp, count_of
from backbench.poison.poisoning import StampedImages
from backbench.stages.scores import checked_state
from backbench.testing.base import checked_progress
from backbench.testing.fresh import CellsContract
from backbench.testing.purity import elsewhere, global_generators_untouched
from backbench.testing.samples import SPLITS, sample_images

#: A learned trigger, as it is stored.
State = Mapping[str, NDArray[Any]]

#: The learned triggers that the tests of a contract share.
_STATES: WeakKeyDictionary[type[StampContract], State] = WeakKeyDictionary()


class StampContract(CellsContract):
    """Common contract of attacks on datasets and on encoders."""

    base = "Attack"

    def unfitted(self) -> Attack:
        """Make the attack anew, as each worker does; of an attack that learns, before it does."""
        kind, settings = self.implementation(), self.settings()
        made: Attack = self.guarded("making the attack", lambda: kind(settings, self.metadata))
        return made

    def attack(self) -> Attack:
        """Make the attack anew, with its learned trigger if it learns."""
        attack = self.unfitted()
        if isinstance(self.info, AttackInfo) and self.info.learns:
            state = self.state()
            self.guarded("restore", lambda: attack.restore(state))
        return attack

    def state(self) -> State:
        """Return the learned trigger, as it is stored; an attack that learns does so once."""
        kind = type(self)
        if kind not in _STATES:
            _STATES[kind] = self.state_of(self.fitted())
        return _STATES[kind]

    def state_of(self, attack: Attack) -> State:
        """Return the learned trigger of an attack, as it is stored."""
        return self.guarded("state", lambda: checked_state(attack.state(), "the attack"))

    def fitted(self) -> Attack:
        """Let the attack learn its trigger."""
        attack = self.unfitted()
        self.guarded("fit", lambda: attack.fit(self.context(attack)))
        return attack

    def context(self, attack: Attack) -> AttackContext:
        """Make the context of an attack; the attacker's images are those of ``metadata``."""
        images = sample_images(self.metadata)

        def shadow(fraction: float) -> ImageSet:
            assert 0 < fraction <= 1, f"ask for a share in (0, 1] of shadow images, not {fraction}"
            count = max(1, count_of(fraction, len(images)))
            return Unlabelled(Subset(images, np.arange(count)))

        def references(number: int) -> ImageSet:
            known = np.arange(len(images))
            if attack.target is not None:
                known = known[images.labels == attack.target]
            assert 1 <= number <= len(known), (
                f"ask for 1 to {len(known)} references, not {number}: there are no more"
            )
            return Subset(images, known[:number])

        return AttackContext(
            seed=0,
            device="cpu",
            shadow=shadow,
            references=references,
            triggered=lambda base: StampedImages(base, attack, 0),
            progress=checked_progress,
        )

    def image(self) -> Pixels:
        """Make an image to stamp, of the size of the contract's dataset."""
        return sample_images(self.metadata).image(0)

    def stamp(self, attack: Attack, image: Pixels, seed: int, split: Split) -> Stamp:
        """Stamp an image, which cannot be written to, under a seed."""
        found: Any = self.guarded(
            "stamp", lambda: attack.stamp(read_only(image), np.random.default_rng(seed), split)
        )
        assert isinstance(found, Stamp), (
            f"return a backbench.plugin.Stamp from stamp, not a {type(found).__name__}"
        )
        return found

    def stamps(self, split: Split) -> list[Stamp]:
        """Stamp the image under several seeds, from 0."""
        return [self.stamp(self.attack(), self.image(), seed, split) for seed in range(5)]

    def of_cell(self, cell: int) -> dict[str, Any]:
        """Return what a new attack computes in a cell."""
        return self.results_of_cell(self.attack_of_cell(cell), cell)

    def attack_of_cell(self, cell: int) -> Attack:  # noqa: ARG002 - for those that learn
        """Make the attack of a cell."""
        return self.attack()

    def results_of_cell(self, attack: Attack, cell: int) -> dict[str, Any]:
        """Stamp an image with a generator: another image, and other numbers, in another cell."""
        found: dict[str, Any] = {}
        image = sample_images(self.metadata).image(cell)
        for split in SPLITS:
            stamp = self.stamp(attack, image, 11 * cell, split)
            found[f"pixels of the stamp ({split})"] = stamp.pixels
            found[f"boxes of the stamp ({split})"] = np.array([tuple(one) for one in stamp.boxes])
        if cell == 0 and self.metadata.size is None:
            self.stamp(attack, np.ascontiguousarray(image[:-3]), 0, "train")
        return found

    def test_target_is_a_class_or_none(self) -> None:
        target: object = self.attack().target
        known = range(len(self.metadata.classes))
        is_index = isinstance(target, int | np.integer) and not isinstance(target, bool)
        assert target is None or (is_index and target in known), (
            f"return the index of a class from target, in [0, {len(known)}), or None: "
            f"not {target!r}"
        )

    def test_announcements_can_be_used(self) -> None:
        """The number of poisons, the JPEG quality and the image of the trigger."""
        attack = self.attack()
        poisons: object = attack.poisons
        assert poisons is None or (type(poisons) is int and poisons > 0), (
            f"return a number of images from poisons, or None: not {poisons!r}"
        )
        quality: object = attack.jpeg_quality
        assert quality is None or (type(quality) is int and 1 <= quality <= 95), (
            f"return a quality in [1, 95] from jpeg_quality, or None: not {quality!r}"
        )
        for split in SPLITS:
            found: object = attack.trigger_image(split)
            is_image = isinstance(found, np.ndarray) and found.dtype == np.uint8
            is_image = is_image and found.ndim == 3 and found.shape[2] in {3, 4}  # type: ignore[attr-defined]
            assert found is None or is_image, (
                "return uint8 (h, w, 3) or (h, w, 4) from trigger_image, or None: not "
                f"{getattr(found, 'dtype', type(found).__name__)} {getattr(found, 'shape', '')}"
            )

    def test_stamp_does_not_change_its_input(self) -> None:
        """Images cannot be written to: another attack, or a control, reads them too."""
        for split in SPLITS:
            image = self.image()
            stamp = self.stamp(self.attack(), image, 0, split)
            assert np.array_equal(image, self.image()), "copy the image before changing it"
            assert not np.shares_memory(stamp.pixels, image), "return pixels of their own: copy"

    def test_stamp_keeps_shape_and_dtype(self) -> None:
        for stamp in (stamp for split in SPLITS for stamp in self.stamps(split)):
            pixels: object = stamp.pixels
            assert isinstance(pixels, np.ndarray), (
                f"return an array of pixels, not a {type(pixels).__name__}"
            )
            assert pixels.shape == self.image().shape, (
                f"return pixels of the image's shape {self.image().shape}, not {pixels.shape}"
            )
            assert pixels.dtype == np.uint8, (
                f"return uint8 pixels, such as pixels.astype(np.uint8), not {pixels.dtype}"
            )

    def test_stamp_depends_on_image_generator_and_split_alone(self) -> None:
        """The triggered images are stamped again, in another process, when they are read."""
        attack, image = self.attack(), self.image()
        for split in SPLITS:
            with global_generators_untouched():
                first = self.stamp(attack, image, 7, split)
                self.stamp(attack, 255 - image, 8, split)
                again = self.stamp(attack, image, 7, split)
                with elsewhere():
                    other = self.stamp(self.attack(), image, 7, split)
            for stamp, what in ((again, "another call"), (other, "another process")):
                same = np.array_equal(first.pixels, stamp.pixels)
                same = same and (first.boxes, first.opacity) == (stamp.boxes, stamp.opacity)
                assert same, (
                    f"{what} gives another stamp of the same image ({split}): let it follow from "
                    "image, rng and split alone"
                )

    def test_stamp_changes_the_image_inside_its_boxes_only(self) -> None:
        """The manifest states where the trigger is: nothing may change elsewhere."""
        image = self.image()
        for split in SPLITS:
            for seed, stamp in enumerate(self.stamps(split)):
                changed = (stamp.pixels != image).any(axis=2)
                for x, y, width, height in stamp.boxes:
                    changed[y : y + height, x : x + width] = False
                assert not changed.any(), (
                    f"name each box in which pixels change: {split}, seed {seed} changes "
                    f"{int(changed.sum())} pixels outside {stamp.boxes}"
                )

    def test_stamp_shows(self) -> None:
        image = self.image()
        for split in SPLITS:
            assert any((stamp.pixels != image).any() for stamp in self.stamps(split)), (
                f"put a trigger on the image: stamp changes no pixel ({split})"
            )

    def test_boxes_lie_on_the_image(self) -> None:
        """Each reported box has an area and is inside the image; opacity is a share."""
        height, width = self.image().shape[:2]
        for stamp in (stamp for split in SPLITS for stamp in self.stamps(split)):
            for box in stamp.boxes:
                assert all(isinstance(one, int | np.integer) for one in box), (
                    f"give whole pixels to the box {tuple(box)}"
                )
                inside = min(box.x, box.y) >= 0 < min(box.width, box.height)
                inside = inside and box.x + box.width <= width and box.y + box.height <= height
                assert inside, (
                    f"keep boxes on the image of {width} x {height} pixels: {tuple(box)} is not"
                )
            assert 0 < stamp.opacity <= 1, (
                f"return the opacity as a share in (0, 1], not {stamp.opacity}"
            )
