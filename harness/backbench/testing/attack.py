"""Contracts of attacks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from backbench.images import ImageSet, Pixels, Subset, Unlabelled
from backbench.model import StageKind
from backbench.plugin import Attack, AttackContext, AttackInfo, Split, Stamp, count_of
from backbench.poison.poisoning import StampedImages
from backbench.stages.inputs import TRIGGER
from backbench.stages.scores import checked_state
from backbench.testing.base import (
    PluginContract,
    features_of,
    global_generators_untouched,
    inputs_untouched,
    same_weights,
    sample_images,
    tiny_encoder,
)
from backbench.testing.hygiene import assert_same, run_twice

if TYPE_CHECKING:
    from backbench.nn import Encoder

_SPLITS: tuple[Split, ...] = get_args(Split)


class _StampContract(PluginContract):
    """Common contract of attacks on datasets and on encoders."""

    base = "Attack"
    _states: ClassVar[dict[type, Mapping[str, NDArray[Any]]]] = {}

    def unfitted(self) -> Attack:
        """Make the attack anew, as each worker does; of an attack that learns, before it does."""
        made: Attack = self.implementation()(self.settings(), self.metadata)
        return made

    def attack(self) -> Attack:
        """Make the attack anew, with its learned trigger if it learns."""
        attack = self.unfitted()
        if isinstance(self.info, AttackInfo) and self.info.learns:
            attack.restore(self.state())
        return attack

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the learned trigger, as it is stored; an attack that learns does so once."""
        if type(self) not in self._states:
            self._states[type(self)] = checked_state(self.fitted().state(), "the attack")
        return self._states[type(self)]

    def fitted(self) -> Attack:
        """Let the attack learn its trigger."""
        attack = self.unfitted()
        attack.fit(self.context(attack))
        return attack

    def context(self, attack: Attack) -> AttackContext:
        """Make the context of an attack; the attacker's images are those of ``metadata``."""
        images = sample_images(self.metadata)

        def shadow(fraction: float) -> ImageSet:
            assert 0 < fraction <= 1, f"shadow({fraction}): a fraction lies in (0, 1]"
            count = max(1, count_of(fraction, len(images)))
            return Unlabelled(Subset(images, np.arange(count)))

        def references(number: int) -> ImageSet:
            known = np.flatnonzero(images.labels == attack.target)
            assert 1 <= number <= len(known), f"references({number}): there are {len(known)}"
            return Subset(images, known[:number])

        def progress(done: int, total: int, values: Mapping[str, float]) -> None:
            assert 0 <= done <= total
            assert all(isinstance(value, float | int) for value in values.values())

        return AttackContext(
            seed=0,
            device="cpu",
            shadow=shadow,
            references=references,
            triggered=lambda base: StampedImages(base, attack, 0),
            progress=progress,
        )

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
        """The manifest states where the trigger is: nothing may change elsewhere."""
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


class AttackContract(_StampContract):
    """Of an attack on the dataset: subclass it, and set ``info`` and small ``options``."""

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


class LearningAttackContract(AttackContract):
    """Of an attack on the dataset that learns its trigger: set ``info`` and small ``options``.

    The contract of all attacks on the dataset holds for the learned trigger.
    """

    def test_it_learns(self) -> None:
        """The info record states it, since the planner reads only that."""
        assert isinstance(self.info, AttackInfo)
        assert self.info.learns

    def test_the_trigger_depends_on_the_images_and_the_seed_alone(self) -> None:
        with inputs_untouched(), global_generators_untouched():
            again = checked_state(self.fitted().state(), "the attack")
        assert again, "the attack gave no array: it has learned no trigger"
        assert again.keys() == self.state().keys()
        for name, values in self.state().items():
            np.testing.assert_array_equal(again[name], values, err_msg=name)

    def test_a_restored_trigger_is_the_fitted_trigger(self) -> None:
        """The trigger is learned in a stage of its own, and restored in all others."""
        fitted, restored, image = self.fitted(), self.attack(), self.image()
        for split in _SPLITS:
            stamps = [
                attack.stamp(image, np.random.default_rng(0), split)
                for attack in (fitted, restored)
            ]
            np.testing.assert_array_equal(stamps[0].pixels, stamps[1].pixels)
        for name, values in checked_state(restored.state(), "the attack").items():
            np.testing.assert_array_equal(self.state()[name], values, err_msg=name)

    def test_arrays_that_are_no_trigger_are_refused(self) -> None:
        """With a ValueError: an artifact may be damaged, or of another plugin."""
        for arrays in ({}, {"no_such_array_": np.zeros(1)}):
            with pytest.raises(ValueError):  # noqa: PT011 - the sentence is the plugin's
                self.unfitted().restore(arrays)

    def test_the_trigger_does_not_follow_from_the_validation_split(self, tmp_path: Path) -> None:
        folders = run_twice(tmp_path, self, StageKind.FIT_TRIGGER)
        assert_same(folders, TRIGGER)


class EncoderAttackContract(_StampContract):
    """Of an attack on the encoder: subclass it, and set ``info`` and small ``options``.

    The encoder is a tiny one with random weights; the attacker's images are those of ``metadata``.
    """

    def encoder(self) -> Encoder:
        """Make the clean encoder; the same each time."""
        return tiny_encoder(min(self.metadata.size or (32, 32)))

    def implant(self, encoder: Encoder) -> Any:
        """Let the attack change an encoder."""
        attack = self.attack()
        return attack.implant(encoder, self.context(attack))

    def test_it_acts_on_the_encoder(self) -> None:
        """The info record states it, since the planner reads only that."""
        assert isinstance(self.info, AttackInfo)
        assert self.info.acts_on == "encoder"

    def test_result_is_another_encoder_of_the_same_architecture(self) -> None:
        clean = self.encoder()
        found = self.implant(self.encoder())
        assert isinstance(found, type(clean))
        assert found.spec == clean.spec
        assert not same_weights(found, clean), "no weight has changed"
        features = features_of(found.eval())
        assert features.shape == (4, clean.feature_dim)
        assert features.isfinite().all()

    def test_the_clean_encoder_is_not_changed(self) -> None:
        """It is the attack's control, and other attacks start from it."""
        encoder = self.encoder()
        with inputs_untouched():
            assert self.implant(encoder) is not encoder
        assert not encoder.training
        assert same_weights(encoder, self.encoder())
        assert all(parameter.requires_grad for parameter in encoder.parameters())

    def test_result_depends_on_its_input_and_the_seed_alone(self) -> None:
        with global_generators_untouched():
            first = self.implant(self.encoder())
        assert same_weights(first, self.implant(self.encoder()))

    def test_nothing_follows_from_the_validation_split(self, tmp_path: Path) -> None:
        folders = run_twice(tmp_path, self, StageKind.IMPLANT, encoder=self.encoder())
        assert_same(folders, "encoder-backdoored.safetensors")
