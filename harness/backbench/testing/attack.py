"""The contract of attacks on the dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from backbench.data.attacker_images import AttackerImages
from backbench.errors import ResultError
from backbench.images import ImageSet, Pixels
from backbench.model import StageKind
from backbench.plugin import Attack, AttackInfo, Recipe, Split, Stamp
from backbench.poison.access import Access
from backbench.poison.choice import aim_of, choose
from backbench.poison.manifest import ManifestEntry
from backbench.poison.poisoning import ImageRef, compose_image
from backbench.testing.hygiene import assert_same, run_twice
from backbench.testing.purity import elsewhere, global_generators_untouched
from backbench.testing.samples import sample_images, tiny_encoder
from backbench.testing.stamping import StampContract

#: Poisons that a contract composes.
_COMPOSED = 8


class AttackContract(StampContract):
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

    def results_of_cell(self, attack: Attack, cell: int) -> dict[str, Any]:
        """Return stamps, and the choice of poisons."""
        chosen = np.array(repr(self.recipes(attack, cell)))
        return {**super().results_of_cell(attack, cell), "choice of poisons": chosen}

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
