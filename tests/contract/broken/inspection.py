"""Defenses that act on the model."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np

from backbench.model import StageKind
from backbench.plugin import Defense, DefenseInfo, Verdict
from backbench.testing import ModelDefenseContract
from backbench.testing.hygiene import run_once
from backbench.testing.samples import tiny_encoder
from tests.contract.broken import broken


class Right(Defense):
    """It looks at the mean of the first weights."""

    def inspect(self, encoder, context):
        weights = next(encoder.parameters()).detach().numpy().copy()
        return Verdict(float(weights.mean()), {"weights": weights}, {"width": float(weights.std())})


class Kit(ModelDefenseContract):
    __test__ = False
    info = DefenseInfo(name="mean", summary="Judges.", target=f"{__name__}:Right", acts_on="model")
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    run_once(folder, kit, StageKind.INSPECT, encoder=tiny_encoder())


_VERDICT, _INPUT = "test_result_is_a_verdict", "test_its_input_is_not_changed"
_ALONE = "test_result_depends_on_its_input_and_the_seed_alone"


@broken(_VERDICT, "gave score = nan, which is not finite")
class ScoreIsNoNumber(Right):
    """Its score is NaN."""

    def inspect(self, encoder, context):
        return Verdict(float("nan"))


@broken(_VERDICT, "gave a bool, not a Verdict")
class ReturnsTrue(Right):
    """It returns a truth value where a verdict is expected."""

    def inspect(self, encoder, context):
        return True


@broken(_VERDICT, "evidence 'trigger' that is not finite")
class EvidenceIsInfinite(Right):
    """Its evidence is not finite."""

    def inspect(self, encoder, context):
        return Verdict(1.0, {"trigger": np.full((3, 4, 4), np.inf, np.float32)})


@broken(_VERDICT, "size = 'large', which is no number")
class NumberIsAWord(Right):
    """One of its numbers is a word."""

    def inspect(self, encoder, context):
        return Verdict(1.0, {}, {"size": "large"})


@broken(_INPUT)
class TrainsTheEncoder(Right):
    """It leaves the encoder in training mode."""

    def inspect(self, encoder, context):
        encoder.train()
        return super().inspect(encoder, context)


@broken("test_global_generators_are_untouched")
class DrawsGlobally(Right):
    """It draws from NumPy's global generator."""

    def inspect(self, encoder, context):
        return Verdict(np.random.rand())  # noqa: NPY002 - what is caught


@broken(_ALONE)
class DependsOnTheProcess(Right):
    """Its score follows from the process id."""

    def inspect(self, encoder, context):
        return Verdict(float(os.getpid()))


@broken(_VERDICT, "raised NotImplementedError")
class InspectsNothing(Defense):
    """It has no inspect."""


@functools.lru_cache
def _known(width: int) -> dict[str, float]:
    """Return what is known of the encoders of a width."""
    return {}


@broken("test_nothing_is_kept_between_cells")
class KeepsVerdictsByWidth(Right):
    """It keeps a verdict for all encoders of a width."""

    def inspect(self, encoder, context):
        mean = float(next(encoder.parameters()).detach().mean())
        return Verdict(_known(encoder.feature_dim).setdefault("mean", mean))
