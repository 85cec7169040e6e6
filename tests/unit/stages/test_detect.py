"""What a detector is shown, what it may give back, and what is stored of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from backbench.errors import ResultError
from backbench.images import ImageSet
from backbench.model import StageKind
from backbench.plugin import Defense, DefenseContext, DefenseInfo
from backbench.stages.detect import shuffled
from backbench.testing import InputDefenseContract
from backbench.testing.hygiene import run_twice


class Given(Defense):
    """Gives back what the test wants, and keeps what it was shown."""

    result: Any
    learned: Any
    shown: ImageSet
    context: DefenseContext

    def fit(self, encoder: Any, context: DefenseContext) -> None:
        context.clean(0.5)

    def state(self) -> Any:
        return type(self).learned

    def restore(self, state: Any) -> None:
        raise AssertionError(state)

    def score(self, encoder: Any, images: ImageSet, context: DefenseContext) -> Any:
        type(self).shown, type(self).context = images, context
        return type(self).result(encoder, images)


class Kit(InputDefenseContract):
    __test__ = False
    info = DefenseInfo(name="given", summary="G.", target="a:A", acts_on="input")

    def settings(self) -> None:
        return None

    def implementation(self) -> type[Defense]:
        return Given


def scored(folder: Path, result: Any) -> Path:
    Given.result = staticmethod(result)
    kit = Kit()
    return run_twice(folder, kit, StageKind.DETECT, encoder=kit.encoder())[0]


def test_a_detector_sees_validation_images_without_labels_in_random_order(tmp_path: Path) -> None:
    folder = scored(tmp_path, lambda _, images: np.arange(len(images)) - 2.5)
    assert set(Given.shown.labels.tolist()) == {-1}
    assert Given.shown.sources[:2] == ("00000000", "00000001")
    stored = load_file(folder / "scores.safetensors")
    assert not stored["triggered"].any()
    assert sorted(stored["index"]) == list(range(12))
    assert stored["index"].tolist() != sorted(stored["index"])
    np.testing.assert_array_equal(stored["scores"], np.arange(12) - 2.5)


def test_each_image_is_there_once_clean_and_once_triggered_in_a_known_order() -> None:
    index, triggered = shuffled(50, 7, triggered=True)
    assert sorted(index[triggered]) == sorted(index[~triggered]) == list(range(50))
    again = shuffled(50, 7, triggered=True)
    np.testing.assert_array_equal(index, again[0])
    np.testing.assert_array_equal(triggered, again[1])
    assert 10 < triggered[:50].sum() < 40  # not one after the other
    assert (shuffled(50, 8, triggered=True)[0] != index).any()


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (lambda _, images: np.zeros(3), r"scores of shape \(3,\) for 12 images"),
        (lambda _, images: np.full(12, np.nan), "not finite for 12 of 12 images"),
        (lambda _, images: ["a"] * 12, "it must be real numbers"),
        (lambda encoder, images: encoder.train() and np.zeros(12), "the detector changed the mode"),
    ],
)
def test_what_is_no_score_for_each_image_is_refused(
    tmp_path: Path, result: Any, sentence: str
) -> None:
    with pytest.raises(ResultError, match=sentence):
        scored(tmp_path, result)


@pytest.mark.parametrize(
    ("learned", "sentence"),
    [
        ({}, "an empty state"),
        ({"w": np.array([np.inf])}, "not finite: w"),
        (None, "gave as state a NoneType"),
    ],
)
def test_what_is_no_state_is_refused(tmp_path: Path, learned: Any, sentence: str) -> None:
    Given.learned = learned
    kit = Kit()
    with pytest.raises(ResultError, match=sentence):
        run_twice(tmp_path, kit, StageKind.FIT_DETECTOR, encoder=kit.encoder())
