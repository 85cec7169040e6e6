"""What an attack that learns is given, what it may learn, and where its trigger is restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from backbench.errors import ResultError, StageError
from backbench.model import StageKind
from backbench.plugin import Attack, AttackContext, AttackInfo, Box, Options, Stamp
from backbench.stages.inputs import POISONED, TRIGGER, TRIGGERED
from backbench.testing import LearningAttackContract
from backbench.testing.hygiene import run_twice


class Brightness(Attack):
    """Learns a level from the attacker's images, and adds it."""

    target = 1
    learned: Any = None
    state_given: Any = None

    def choose(self, labels: Any, rng: Any) -> Any:
        return np.flatnonzero(labels == 1)[:2]

    def fit(self, context: AttackContext) -> None:
        images = context.shadow(0.5)
        self.learned = np.array([images.image(0).max() // 8], np.uint8)

    def state(self) -> Any:
        return {"level": self.learned} if type(self).state_given is None else type(self).state_given

    def restore(self, state: Any) -> None:
        if set(state) != {"level"}:
            raise ValueError("these arrays are no level")
        self.learned = state["level"]

    def stamp(self, image: Any, rng: Any, split: Any) -> Stamp:
        whole = Box(0, 0, image.shape[1], image.shape[0])
        return Stamp(np.maximum(image, self.learned), whole, opacity=1.0)


class Kit(LearningAttackContract):
    __test__ = False
    info = AttackInfo(name="brightness", summary="B.", target="a:A", learns=True)

    def settings(self) -> Options:
        return Options()

    def implementation(self) -> type[Attack]:
        return Brightness


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Brightness, "state_given", None)


def test_the_poison_carries_the_stored_trigger(tmp_path: Path) -> None:
    folder, _ = run_twice(tmp_path, Kit(), StageKind.POISON)
    (trigger,) = folder.parent.glob(f"store/artifacts/*/{TRIGGER}")
    level = load_file(trigger)["level"]
    assert load_file(folder / POISONED)["pixels"].min() == level[0]
    kept = load_file(folder / TRIGGERED)
    assert kept["pixels"].min() == level[0]
    assert kept["indices"].tolist() == list(range(Kit.metadata.val))


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({}, "it has learned no trigger"),
        ([1.0], "gave as state a list: it must be by name"),
        ({"level": np.array([np.nan])}, "numbers that are not finite: level"),
    ],
)
def test_what_is_no_trigger_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Any, sentence: str
) -> None:
    monkeypatch.setattr(Brightness, "state_given", state)
    with pytest.raises(ResultError, match=sentence):
        run_twice(tmp_path, Kit(), StageKind.FIT_TRIGGER)


def test_a_trigger_that_the_attack_refuses_stops_the_stage_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Brightness, "state_given", {"other": np.zeros(1)})
    with pytest.raises(StageError, match="cannot be used: these arrays are no level"):
        run_twice(tmp_path, Kit(), StageKind.POISON)
