"""Contracts of attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from backbench.data.attacker_images import AttackerImages
from backbench.errors import ResultError
from backbench.images import ImageSet, Pixels, Subset, Unlabelled, read_only
from backbench.model import StageKind
from backbench.plugin import Attack, AttackContext, AttackInfo, Recipe, Split, Stamp, count_of
from backbench.poison.access import Access
from backbench.poison.choice import aim_of, choose
from backbench.poison.manifest import ManifestEntry
from backbench.poison.poisoning import ImageRef, StampedImages, compose_image
from backbench.stages.inputs import TRIGGER
from backbench.stages.scores import checked_state
from backbench.testing.base import PluginContract
from backbench.testing.hygiene import assert_same, run_twice
from backbench.testing.purity import (
    assert_unused,
    elsewhere,
    global_generators_untouched,
    watched,
)
from backbench.testing.samples import (
    assert_encoder,
    assert_untouched,
    same_weights,
    sample_images,
    tiny_encoder,
)

if TYPE_CHECKING:
    from backbench.nn import Encoder

_SPLITS: tuple[Split, ...] = get_args(Split)

State = Mapping[str, NDArray[Any]]

#: The learned triggers that the tests of a contract share.
_STATES: WeakKeyDictionary[type[_StampContract], State] = WeakKeyDictionary()

#: Poisons that a contract composes.
_COMPOSED = 8


class _StampContract(PluginContract):
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
        for split in _SPLITS:
            found: object = attack.trigger_image(split)
            is_image = isinstance(found, np.ndarray) and found.dtype == np.uint8
            is_image = is_image and found.ndim == 3 and found.shape[2] in {3, 4}  # type: ignore[attr-defined]
            assert found is None or is_image, (
                "return uint8 (h, w, 3) or (h, w, 4) from trigger_image, or None: not "
                f"{getattr(found, 'dtype', type(found).__name__)} {getattr(found, 'shape', '')}"
            )

    def test_stamp_does_not_change_its_input(self) -> None:
        """Images cannot be written to: another attack, or a control, reads them too."""
        for split in _SPLITS:
            image = self.image()
            stamp = self.stamp(self.attack(), image, 0, split)
            assert np.array_equal(image, self.image()), "copy the image before changing it"
            assert not np.shares_memory(stamp.pixels, image), "return pixels of their own: copy"

    def test_stamp_keeps_shape_and_dtype(self) -> None:
        for stamp in (stamp for split in _SPLITS for stamp in self.stamps(split)):
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
        for split in _SPLITS:
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
        for split in _SPLITS:
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
        for split in _SPLITS:
            assert any((stamp.pixels != image).any() for stamp in self.stamps(split)), (
                f"put a trigger on the image: stamp changes no pixel ({split})"
            )

    def test_boxes_lie_on_the_image(self) -> None:
        """Each reported box has an area and is inside the image; opacity is a share."""
        height, width = self.image().shape[:2]
        for stamp in (stamp for split in _SPLITS for stamp in self.stamps(split)):
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


class AttackContract(_StampContract):
    """Of an attack on the dataset: subclass it, and set ``info`` and small ``options``."""

    def access(self) -> Access:
        """Return what the attack may ask for: images, and features that separate their classes.

        Every set of images that its options name is the contract's dataset, or their folder.
        """
        images = sample_images(self.metadata)
        sets: dict[str, Callable[[], ImageSet]] = {
            name: partial(AttackerImages, one) if isinstance(one, Path) else lambda: images
            for name, one in self.settings().sets().items()
        }
        classes = np.eye(len(self.metadata.classes), 8, dtype=np.float32)[images.labels]
        noise = np.random.default_rng(0).standard_normal((len(images), 8), dtype=np.float32)
        features = classes + np.float32(0.1) * noise
        reads = isinstance(self.info, AttackInfo) and self.info.reads_encoder
        return Access(images, sets, (lambda: features) if reads else None)

    def recipes(self, attack: Attack, seed: int) -> dict[int, Recipe]:
        """Let the attack list its poisons, of arrays that cannot be written to, by index."""

        def listed() -> dict[int, Recipe]:
            try:
                return choose(attack, self.access(), seed)
            except ResultError as error:
                raise AssertionError(str(error)) from error

        found: dict[int, Recipe] = self.guarded("the choice of poisons", listed)
        return found

    def composed(self, attack: Attack, recipes: Mapping[int, Recipe]) -> dict[int, ManifestEntry]:
        """Let an attack make poisons; return their lines of the manifest, by index."""
        access = self.access()

        def made() -> dict[int, ManifestEntry]:
            try:
                return {
                    index: compose_image(
                        attack, recipe, access, ImageRef(index, "a poison", -1), 0
                    )[1]
                    for index, recipe in recipes.items()
                }
            except ResultError as error:
                raise AssertionError(str(error)) from error

        found: dict[int, ManifestEntry] = self.guarded("compose", made)
        return found

    def test_choice_is_distinct_and_in_range(self) -> None:
        """One poison or more, of images that are there, none replaced twice; as many as announced.

        See :meth:`backbench.plugin.Attack.choose` and :meth:`backbench.plugin.Attack.recipes`.
        """
        attack = self.attack()
        recipes = self.recipes(attack, 0)
        count = len(recipes)
        assert attack.poisons in {None, count}, (
            f"announce in poisons how many images are poisoned: {count}, not {attack.poisons}"
        )
        added = sum(recipe.replaces is None for recipe in recipes.values())
        announced = self.settings().added_images(self.metadata)
        assert announced in {0, added}, (
            f"announce in added_images how many poisons are added: {added}, not {announced}"
        )

    def test_choice_depends_on_the_generator_alone(self) -> None:
        """Equal generators give equal choices, for any instance and any number of calls."""
        attack = self.attack()
        with global_generators_untouched():
            first, again = self.recipes(attack, 7), self.recipes(attack, 7)
            with elsewhere():
                other = self.recipes(self.attack(), 7)
        for chosen, what in ((again, "another call"), (other, "another process")):
            assert first == chosen, (
                f"{what} chooses other images: let the choice follow from the context and rng alone"
            )

    def test_labels_are_not_changed(self) -> None:
        """Poisons keep their labels: self-supervised training does not see them."""
        self.recipes(self.attack(), 0)

    def some_recipes(self, attack: Attack) -> dict[int, Recipe]:
        """Let an attack list its poisons, and return some of them, by index."""
        return dict(list(self.recipes(attack, 0).items())[:_COMPOSED])

    def test_composing_does_not_change_its_parts(self) -> None:
        attack = self.attack()
        self.composed(attack, self.some_recipes(attack))

    def test_composing_depends_on_parts_and_generator_alone(self) -> None:
        """Another process makes a poison again, in another order, and without listing them."""
        attack = self.attack()
        recipes = self.some_recipes(attack)
        with global_generators_untouched():
            first = self.composed(attack, recipes)
            with elsewhere():
                other = self.composed(self.attack(), dict(reversed(recipes.items())))
        assert first == other, (
            "another process or order makes another poison: let compose follow from its parts and "
            "rng alone"
        )

    def test_poisons_show(self) -> None:
        """A poison that is a training image as it was does nothing."""
        attack = self.attack()
        made = self.composed(attack, self.some_recipes(attack)).values()
        assert any(one.shows for one in made), (
            "put a trigger on the poisons, or compose them: each is a training image as it was"
        )

    def test_boxes_of_a_poison_show_its_trigger(self) -> None:
        """A box is of the whole poison: it moves along with the image that was stamped."""
        attack, plain, access = self.attack(), self.without_trigger(), self.access()
        for index, recipe in self.some_recipes(attack).items():
            who = ImageRef(index, "a poison", -1)
            (made, mark), (bare, _) = (
                self.guarded("compose", partial(compose_image, one, recipe, access, who, 0))
                for one in (attack, plain)
            )
            if made.shape != bare.shape or not mark.boxes:
                continue
            changed = (made != bare).any(axis=2)
            outside = changed.copy()
            for x, y, width, height in mark.boxes:
                outside[y : y + height, x : x + width] = False
            assert 2 * int(outside.sum()) <= int(changed.sum()), (
                f"name the box of the trigger on the whole poison: {int(outside.sum())} of the "
                f"{int(changed.sum())} pixels that the trigger changes are outside {mark.boxes}"
            )

    def without_trigger(self) -> Attack:
        """Make an attack of which ``stamp`` returns boxes as ever, and the image as it was."""
        kind = self.implementation()

        def stamp(attack: Attack, image: Pixels, rng: np.random.Generator, split: Split) -> Stamp:
            return kind.stamp(attack, image, rng, split)._replace(pixels=image.copy())  # type: ignore[no-any-return]

        made: Attack = type(kind.__name__, (kind,), {"stamp": stamp})(
            self.settings(), self.metadata
        )
        if isinstance(self.info, AttackInfo) and self.info.learns:
            made.restore(self.state())
        return made

    def test_aim_follows_from_the_poisons_alone(self) -> None:
        """The class that evaluations count for: they are made in other processes."""
        labels = sample_images(self.metadata).labels
        chosen = np.fromiter(self.recipes(self.attack(), 0), dtype=np.int64)

        def aim() -> int | None:
            try:
                return aim_of(self.attack(), chosen, labels)
            except ResultError as error:
                raise AssertionError(str(error)) from error

        with global_generators_untouched():
            first = self.guarded("aim", aim)
            with elsewhere():
                other = self.guarded("aim", aim)
        assert first == other, (
            f"another process aims at class {other} instead of {first}: let aim follow from the "
            "classes of the poisons alone"
        )

    def test_poisons_do_not_follow_from_the_validation_split(self, tmp_path: Path) -> None:
        reads = isinstance(self.info, AttackInfo) and self.info.reads_encoder
        encoder = tiny_encoder(min(self.metadata.size or (32, 32))) if reads else None
        folders = self.guarded(
            "the poison", lambda: run_twice(tmp_path, self, StageKind.POISON, encoder=encoder)
        )
        assert_same(folders, "train.jsonl", "images.safetensors")


class LearningAttackContract(AttackContract):
    """Of an attack on the dataset that learns its trigger: set ``info`` and small ``options``.

    The contract of all attacks on the dataset holds for the learned trigger.
    """

    def test_it_learns(self) -> None:
        """The info record states it, since the planner reads only that."""
        assert isinstance(self.info, AttackInfo), "announce an AttackInfo"
        assert self.info.learns, "announce it with learns=True"

    def test_the_trigger_depends_on_the_images_and_the_seed_alone(self) -> None:
        first = self.state()
        with global_generators_untouched(), elsewhere():
            again = self.state_of(self.fitted())
        assert again, "return the learned trigger as arrays by name from state: there is none"
        assert _equal(first, again), (
            "another process learns another trigger: draw from the seed of the context alone"
        )

    def test_a_restored_trigger_is_the_fitted_trigger(self) -> None:
        """The trigger is learned in a stage of its own, and restored in all others."""
        fitted, restored, image = self.fitted(), self.attack(), self.image()
        for split in _SPLITS:
            first, other = (self.stamp(one, image, 0, split) for one in (fitted, restored))
            assert np.array_equal(first.pixels, other.pixels), (
                f"give in state, and take in restore, all that stamp needs: the stamp differs "
                f"({split})"
            )
        assert _equal(self.state(), self.state_of(restored)), (
            "return from state the arrays that restore took"
        )

    def test_arrays_that_are_no_trigger_are_refused(self) -> None:
        """With a ValueError: an artifact may be damaged, or of another plugin."""
        for arrays in ({}, {"no_such_array_": np.zeros(1)}):
            refused = False
            try:
                self.unfitted().restore(arrays)
            except ValueError:
                refused = True
            assert refused, f"raise a ValueError in restore of the arrays {sorted(arrays)}"

    def test_the_trigger_does_not_follow_from_the_validation_split(self, tmp_path: Path) -> None:
        folders = self.guarded("fit", lambda: run_twice(tmp_path, self, StageKind.FIT_TRIGGER))
        assert_same(folders, TRIGGER)


@dataclass(frozen=True)
class _Implanted:
    """Input and result of an attack, and the global generators that it has used."""

    given: Encoder
    result: Any
    used: list[str]


#: The implant that tests of a contract share.
_IMPLANTED: WeakKeyDictionary[type[EncoderAttackContract], _Implanted] = WeakKeyDictionary()


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
        context = self.context(attack)
        return self.guarded("implant", lambda: attack.implant(encoder, context))

    def _implanted(self) -> _Implanted:
        kind = type(self)
        if kind not in _IMPLANTED:
            self.implementation()  # importing torch is not implanting
            given = self.encoder()
            _IMPLANTED[kind] = _Implanted(given, *watched(lambda: self.implant(given)))
        return _IMPLANTED[kind]

    def test_it_acts_on_the_encoder(self) -> None:
        """The info record states it, since the planner reads only that."""
        assert isinstance(self.info, AttackInfo), "announce an AttackInfo"
        assert self.info.acts_on == "encoder", 'announce it with acts_on="encoder"'

    def test_result_is_another_encoder_of_the_same_architecture(self) -> None:
        clean, found = self.encoder(), self._implanted().result
        assert_encoder(found, clean)
        assert not same_weights(found, clean), "change weights: the encoder is the clean one"

    def test_the_clean_encoder_is_not_changed(self) -> None:
        """It is the attack's control, and other attacks start from it."""
        implanted = self._implanted()
        encoder, found = implanted.given, implanted.result
        assert found is not encoder, "return a copy of the encoder, not the one that was given"
        assert_untouched(encoder, self.encoder())

    def test_result_depends_on_its_input_and_the_seed_alone(self) -> None:
        implanted = self._implanted()
        assert_unused(implanted.used)
        with elsewhere():
            other = self.implant(self.encoder())
        assert same_weights(implanted.result, other), (
            "another process gives other weights: draw from the seed of the context alone"
        )

    def test_nothing_follows_from_the_validation_split(self, tmp_path: Path) -> None:
        folders = self.guarded(
            "implant",
            lambda: run_twice(tmp_path, self, StageKind.IMPLANT, encoder=self.encoder()),
        )
        assert_same(folders, "encoder-backdoored.safetensors")


def checked_progress(done: int, total: int, values: Mapping[str, Any]) -> None:
    """Assert that a plugin reports its progress as numbers."""
    assert 0 <= done <= total, f"report 0 ≤ done ≤ total to progress, not {done} of {total}"
    wrong = [name for name, value in values.items() if not isinstance(value, float | int)]
    assert not wrong, f"report numbers to progress: {wrong[0]} is {values[wrong[0]]!r}"


def _equal(first: State, second: State) -> bool:
    same = (np.array_equal(array, second.get(name, ())) for name, array in first.items())
    return first.keys() == second.keys() and all(same)
