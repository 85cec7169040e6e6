"""A defense that wraps the method of a training: what it is given, and what it may give back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbench.errors import StageError
from backbench.model import StageKind
from backbench.nn import Encoder, GuardedMethod, SSLMethod
from backbench.plugin import Defense, DefenseContext, DefenseInfo, Progress
from backbench.testing import TrainingDefenseContract
from backbench.testing.hygiene import run_twice


class Given(Defense):
    """Wraps as the test wants, and keeps its context."""

    wrap: Callable[[SSLMethod], Any]
    context: DefenseContext

    def guard(self, method: SSLMethod, context: DefenseContext) -> Any:
        type(self).context = context
        context.clean(0.25)
        return type(self).wrap(method)


class Kit(TrainingDefenseContract):
    __test__ = False
    info = DefenseInfo(name="given", summary="G.", target="a:A", acts_on="training")

    def settings(self) -> None:
        return None

    def implementation(self) -> type[Defense]:
        return Given


def trained(folder: Path, wrap: Callable[[SSLMethod], Any]) -> Path:
    """Train with a guard; return the folder of the encoder."""
    Given.wrap = staticmethod(wrap)
    return run_twice(folder, Kit(), StageKind.PRETRAIN)[0]


class Still(GuardedMethod):
    """Trains nothing; counts the calls."""

    def __init__(self, method: SSLMethod) -> None:
        super().__init__(method)
        self.scale = nn.Parameter(torch.ones(()))
        self.steps = 0

    def training_loss(self, views: Any) -> Tensor:
        return 0 * self.method.training_loss(views) + (self.scale - 3).square()

    def after_step(self, progress: Progress) -> None:
        super().after_step(progress)
        self.steps += 1


def test_the_wrapped_method_is_trained_in_place_of_the_method(tmp_path: Path) -> None:
    made: list[Still] = []

    def wrap(method: SSLMethod) -> Still:
        made.append(Still(method))
        return made[-1]

    trained(tmp_path, wrap)
    assert made[0].steps == 10  # two epochs of five batches
    assert float(made[0].scale.detach()) > 1  # a parameter of its own is trained
    groups = [one for group in made[0].param_groups() for one in group["params"]]
    assert len({id(one) for one in groups}) == len(groups) == len(list(made[0].parameters()))


def test_a_wrapped_method_does_what_the_method_does(tmp_path: Path) -> None:
    plain = trained(tmp_path / "0", lambda method: method)
    wrapped = trained(tmp_path / "1", GuardedMethod)
    weights = [(folder / "encoder.safetensors").read_bytes() for folder in (plain, wrapped)]
    assert weights[0] == weights[1]
    assert (plain / "log.jsonl").read_bytes() == (wrapped / "log.jsonl").read_bytes()


def test_the_encoder_of_a_wrapped_method_keeps_its_mode() -> None:
    """A method may keep its encoder from training; the wrapper must not undo it."""

    class Frozen(GuardedMethod):
        def train(self, mode: bool = True) -> Frozen:
            super().train(mode)
            self.encoder.eval()
            return self

    with Kit().method() as (method, _):
        assert not GuardedMethod(Frozen(method)).train().encoder.training


class Other(GuardedMethod):
    """Has an encoder of its own, for another size of images."""

    def __init__(self, method: SSLMethod) -> None:
        super().__init__(method)
        self.own = Encoder(replace(method.encoder.spec, image_size=8))

    @property
    def encoder(self) -> Encoder:
        return self.own


@pytest.mark.parametrize(
    ("wrap", "sentence"),
    [
        (lambda _method: None, "gave a NoneType, not an SSLMethod"),
        (Other, "an encoder of another architecture"),
    ],
)
def test_what_is_no_method_of_the_same_encoder_is_refused(
    tmp_path: Path, wrap: Callable[[SSLMethod], Any], sentence: str
) -> None:
    with pytest.raises(StageError, match=sentence):
        trained(tmp_path, wrap)


def test_a_guard_has_clean_images_and_no_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path, GuardedMethod)
    context = Given.context
    assert context.checkpoint is None
    assert len(context.clean(0.25).images) == 10
    assert np.array_equal(context.clean(0.5).images.labels, context.clean(0.5).images.labels)
    with pytest.raises(StageError, match=r"lies in \(0, 0.5\]"):
        context.clean(math.nextafter(0.5, 1))
