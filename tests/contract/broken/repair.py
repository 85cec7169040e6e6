"""Defenses that act on the encoder."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from backbench.model import StageKind
from backbench.plugin import Defense, DefenseInfo
from backbench.testing import DefenseContract
from backbench.testing.hygiene import run_once
from backbench.testing.samples import tiny_encoder
from tests.contract.broken import broken
from tests.contract.broken.encoder_attack import moved


class Right(Defense):
    """It moves weights."""

    def repair(self, encoder, context):
        return moved(encoder)


class Kit(DefenseContract):
    __test__ = False
    info = DefenseInfo(
        name="moves", summary="Moves weights.", target=f"{__name__}:Right", acts_on="encoder"
    )
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    run_once(folder, kit, StageKind.REPAIR, encoder=tiny_encoder())


_RESULT, _INPUT = "test_result_is_what_the_record_says", "test_its_input_is_not_changed"
_ALONE = "test_result_depends_on_its_input_and_the_seed_alone"


@broken(_INPUT)
class ReturnsItsInput(Defense):
    """It returns the encoder that it is given."""

    def repair(self, encoder, context):
        return encoder


@broken(_INPUT)
class ChangesItsInput(Defense):
    """It changes the encoder that it is given, and returns a copy."""

    def repair(self, encoder, context):
        with torch.no_grad():
            next(encoder.parameters()).add_(0.5)
        return copy.deepcopy(encoder)


@broken(_INPUT)
class FreezesItsInput(Defense):
    """It freezes the encoder that it is given."""

    def repair(self, encoder, context):
        repaired = moved(encoder)
        encoder.requires_grad_(requires_grad=False)
        return repaired


@broken(_INPUT)
class TrainsItsInput(Defense):
    """It leaves the encoder that it is given in training mode."""

    def repair(self, encoder, context):
        repaired = moved(encoder)
        encoder.train()
        return repaired


@broken(_INPUT)
class LeavesGradients(Defense):
    """It leaves gradients in the encoder that it is given."""

    def repair(self, encoder, context):
        encoder(torch.zeros(2, 3, 32, 32)).sum().backward()
        repaired = moved(encoder)
        repaired.zero_grad()
        return repaired


@broken(_INPUT, "read-only")
class DarkensCleanImages(Defense):
    """It writes to the clean images."""

    def repair(self, encoder, context):
        context.clean(1.0).images.pixels[:] //= 2
        return moved(encoder)


@broken(_RESULT, "another architecture")
class AnotherArchitecture(Defense):
    """It returns an encoder for smaller images."""

    def repair(self, encoder, context):
        return type(encoder)(replace(encoder.spec, image_size=16)).eval()


@broken(_RESULT, "are not finite")
class NoNumbers(Defense):
    """It returns weights that are NaN."""

    def repair(self, encoder, context):
        return moved(encoder, float("nan"))


@broken(_RESULT, "which no file stores: put the change into the weights")
class ClipsInAHook(Defense):
    """It clips the features outside the weights."""

    def repair(self, encoder, context):
        repaired = moved(encoder)
        repaired.backbone.register_forward_hook(lambda _module, _images, found: found.clamp(max=0))
        return repaired


@broken(_RESULT, "gave a Backbone, not")
class ReturnsTheBackbone(Defense):
    """It returns the backbone without its encoder."""

    def repair(self, encoder, context):
        return moved(encoder).backbone


@broken(_RESULT)
class LeavesTrainingOn(Defense):
    """It returns the encoder in training mode."""

    def repair(self, encoder, context):
        return moved(encoder).train()


@broken("test_global_generators_are_untouched")
class DrawsGlobally(Defense):
    """It draws fresh weights from torch's global generator."""

    def repair(self, encoder, context):
        return type(encoder)(encoder.spec).eval()


@broken(_ALONE)
class DependsOnTheTime(Defense):
    """Its weights follow from the time."""

    def repair(self, encoder, context):
        return moved(encoder, time.time() % 1000)


@broken(_RESULT, "the clean fraction lies in")
class AsksInPercent(Defense):
    """It asks for clean images in percent."""

    def repair(self, encoder, context):
        context.clean(20)
        return moved(encoder)


@broken(_RESULT, "does not act on the encoder")
class RepairsNothing(Defense):
    """It has no repair."""


@broken(_RESULT)
class ReportsTooMuch(Defense):
    """It reports more steps than there are."""

    def repair(self, encoder, context):
        context.progress(11, 10, {})
        return moved(encoder)
