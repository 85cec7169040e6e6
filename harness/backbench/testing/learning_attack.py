"""The contract of attacks that learn their trigger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backbench.images import ImageSet, Overlay
from backbench.model import StageKind
from backbench.plugin import Attack, AttackInfo
from backbench.stages.inputs import TRIGGER
from backbench.testing.attack import AttackContract
from backbench.testing.base import assert_refuses
from backbench.testing.hygiene import assert_same, run_twice
from backbench.testing.purity import elsewhere, global_generators_untouched
from backbench.testing.samples import SPLITS
from backbench.testing.stamping import State


class LearningAttackContract(AttackContract):
    """Of an attack on the dataset that learns its trigger: set ``info`` and small ``options``.

    The contract of all attacks on the dataset holds for the learned trigger.
    """

    def attack_of_cell(self, cell: int) -> Attack:
        """Make the attack with a trigger that is learned from other images in another cell."""
        if cell == 0:
            return self.attack()
        fitted, restored = self.unfitted(), self.unfitted()
        context = self.context(fitted)
        other = replace(
            context,
            shadow=lambda share: _inverted(context.shadow(share)),
            references=lambda number: _inverted(context.references(number)),
        )
        self.guarded("fit", lambda: fitted.fit(other))
        state = self.state_of(fitted)
        self.guarded("restore", lambda: restored.restore(state))
        return restored

    def results_of_cell(self, attack: Attack, cell: int) -> dict[str, Any]:
        """Return the learned trigger, stamps of it, and the choice of poisons."""
        return {**super().results_of_cell(attack, cell), **self.state_of(attack)}

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
        for split in SPLITS:
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
        assert_refuses(lambda arrays: self.unfitted().restore(arrays))

    def test_the_trigger_does_not_follow_from_the_validation_split(self, tmp_path: Path) -> None:
        folders = self.guarded("fit", lambda: run_twice(tmp_path, self, StageKind.FIT_TRIGGER))
        assert_same(folders, TRIGGER)


def _inverted(images: ImageSet) -> ImageSet:
    """Return images as negatives."""
    return Overlay(images, {index: 255 - images.image(index) for index in range(len(images))})


def _equal(first: State, second: State) -> bool:
    same = (np.array_equal(array, second.get(name, ())) for name, array in first.items())
    return first.keys() == second.keys() and all(same)
