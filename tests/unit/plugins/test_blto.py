"""BLTO's learning: what it changes, and what a killed stage takes up again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.contract.builtin.test_attacks import TestBLTO as Contract

from backbench.images import ArrayImages, Subset
from backbench.plugin import AttackContext, CheckpointFile
from backbench_attacks.blto import BLTO, joined
from backbench_attacks.blto_options import BLTOOptions

Progress = Callable[[int, int, Mapping[str, float]], None]


class Kit(Contract):
    __test__ = False


def learned(checkpoint: Path | None, progress: Progress) -> dict[str, Any]:
    kit = Kit()
    kit.options = Contract.options | {"surrogate": SURROGATE}
    attack = kit.unfitted()
    context: AttackContext = replace(
        kit.context(attack), checkpoint=checkpoint and CheckpointFile(checkpoint), progress=progress
    )
    attack.fit(context)
    return dict(attack.state())


SURROGATE = {**Contract.options["surrogate"], "checkpoint_minutes": 0}


def test_a_killed_stage_takes_up_the_network_after_a_restart(tmp_path: Path) -> None:
    whole = learned(None, lambda *_: None)
    seen = []

    def killed(done: int, total: int, values: Mapping[str, float]) -> None:
        seen.append((done, total))
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learned(tmp_path / "state", killed)
    assert seen == [(1, 4), (2, 4), (3, 4)]
    again = []
    found = learned(tmp_path / "state", lambda done, total, _: again.append((done, total)))
    assert again == [(3, 4), (4, 4)]  # the first restart is not done again
    for name, values in whole.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_the_surrogate_sees_the_references_behind_the_attackers_images() -> None:
    pixels = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
    base = ArrayImages(pixels, np.zeros(4, np.int64), list("abcd"))
    more = [np.full((2, 2, 3), 200, np.uint8)]
    for images in (base, NotResident(base)):
        found = joined(images, more)
        assert len(found) == 5
        assert found.labels.tolist() == [-1] * 5
        np.testing.assert_array_equal(found.image(3), pixels[3])
        np.testing.assert_array_equal(found.image(4), more[0])


class NotResident(Subset):
    """The same images without an array of all."""

    pixels = None

    def __init__(self, base: ArrayImages) -> None:
        super().__init__(base, np.arange(len(base)))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"target": "cow"}, "target: there is no class 'cow'"),
        ({"rate": {"of": "count", "value": 17}}, "only 16 may be poisoned"),
        ({"surrogate": {"batch_size": 64}}, "surrogate.batch_size = 64 is more than the 44"),
    ],
)
def test_problems_are_known_before_anything_runs(given: dict[str, Any], sentence: str) -> None:
    options = {**Contract.options, **given}
    options["surrogate"] = {**SURROGATE, **given.get("surrogate", {})}
    found = list(BLTOOptions.model_validate(options).problems(Contract.metadata))
    assert len(found) == 1
    assert sentence in found[0]


def test_an_attack_that_has_learned_nothing_stamps_nothing() -> None:
    attack: BLTO = Kit().unfitted()
    with pytest.raises(RuntimeError, match="neither fitted nor restored"):
        attack.stamp(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0), "train")
