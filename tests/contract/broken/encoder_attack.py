"""Attacks on the encoder."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from backbench.model import StageKind
from backbench.plugin import AttackInfo
from backbench.testing import EncoderAttackContract
from backbench.testing.hygiene import run_once
from backbench.testing.samples import tiny_encoder
from tests.contract.broken import attack, broken


@torch.no_grad()
def moved(encoder: Any, amount: float = 0.5) -> Any:
    """Return a copy of an encoder whose first weights are moved."""
    copied = copy.deepcopy(encoder)
    next(copied.parameters()).add_(amount)
    return copied


class Right(attack.Right):
    """It moves weights."""

    def implant(self, encoder, context):
        return moved(encoder)


class Kit(EncoderAttackContract):
    __test__ = False
    info = AttackInfo(
        name="moves", summary="Moves weights.", target=f"{__name__}:Right", acts_on="encoder"
    )
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    run_once(folder, kit, StageKind.IMPLANT, encoder=tiny_encoder())


_RESULT = "test_result_is_another_encoder_of_the_same_architecture"
_UNCHANGED = "test_the_clean_encoder_is_not_changed"
_ALONE = "test_result_depends_on_its_input_and_the_seed_alone"


@broken(_RESULT, "no weight has changed")
class ChangesNothing(Right):
    """It returns a copy of the clean encoder."""

    def implant(self, encoder, context):
        return copy.deepcopy(encoder)


@broken(_UNCHANGED)
class ChangesTheControl(Right):
    """It changes the clean encoder itself."""

    def implant(self, encoder, context):
        with torch.no_grad():
            next(encoder.parameters()).add_(0.5)
        return encoder


@broken(_RESULT, "another architecture")
class SmallerImages(Right):
    """It returns an encoder for smaller images."""

    def implant(self, encoder, context):
        return type(encoder)(replace(encoder.spec, image_size=16)).eval()


@broken(_RESULT, "are not finite")
class InfiniteWeights(Right):
    """It returns weights that are not finite."""

    def implant(self, encoder, context):
        return moved(encoder, float("inf"))


@broken(_RESULT, "which no file stores: put the change into the weights")
class HooksTheEncoder(Right):
    """It turns the features around outside the weights."""

    def implant(self, encoder, context):
        implanted = moved(encoder)
        implanted.backbone.register_forward_hook(lambda _module, _images, features: -features)
        return implanted


@broken(_RESULT, "gave a OrderedDict, not an Encoder")
class ReturnsWeights(Right):
    """It returns a table of weights."""

    def implant(self, encoder, context):
        return moved(encoder).state_dict()


@broken(_RESULT)
class LeavesTrainingOn(Right):
    """It returns the encoder in training mode."""

    def implant(self, encoder, context):
        return moved(encoder).train()


@broken(_UNCHANGED)
class FreezesTheControl(Right):
    """It freezes the clean encoder."""

    def implant(self, encoder, context):
        return moved(encoder.requires_grad_(requires_grad=False))


@broken(_ALONE)
class DrawsGlobally(Right):
    """It draws from torch's global generator."""

    def implant(self, encoder, context):
        return moved(encoder, torch.rand(()).item())


@broken(_ALONE)
class DependsOnTheProcess(Right):
    """Its weights follow from the process id."""

    def implant(self, encoder, context):
        return moved(encoder, 1 / os.getpid())


@broken(_RESULT, "there are 16 images")
class AsksForTooMuch(Right):
    """It asks for more references than the class has images."""

    def implant(self, encoder, context):
        context.references(1000)
        return moved(encoder)


@broken(_RESULT, "share of shadow images lies in")
class AsksInPercent(Right):
    """It asks for shadow images in percent."""

    def implant(self, encoder, context):
        context.shadow(20)
        return moved(encoder)


@broken(_RESULT, "does not act on the encoder")
class ImplantsNothing(attack.Right):
    """It has no implant."""


class _Kept:
    shift: Any = None


@broken("test_nothing_is_kept_between_cells")
class KeepsItsShiftInAClass(Right):
    """It moves every encoder as far as it has moved the first."""

    def implant(self, encoder, context):
        if _Kept.shift is None:
            _Kept.shift = float(next(encoder.parameters()).detach().abs().mean())
        return moved(encoder, _Kept.shift)
