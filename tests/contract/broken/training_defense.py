"""Defenses that wrap the method of a training."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backbench.model import StageKind
from backbench.nn import Encoder, GuardedMethod
from backbench.plugin import Defense, DefenseInfo
from backbench.testing import TrainingDefenseContract
from backbench.testing.hygiene import run_once
from tests.contract.broken import broken


class Turned(GuardedMethod):
    """Reverses the color channels of the views in every other epoch."""

    def views(self, batch):
        views = self.method.views(batch)
        return tuple(view.flip(1) for view in views) if batch.epoch % 2 == 0 else views


class Right(Defense):
    """It turns the colors of views around."""

    def guard(self, method, context):
        return Turned(method)


class Kit(TrainingDefenseContract):
    __test__ = False
    info = DefenseInfo(name="turn", summary="T.", target=f"{__name__}:Right", acts_on="training")
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    run_once(folder, kit, StageKind.PRETRAIN)


_FINITE, _ANOTHER = "test_training_gives_a_log_of_finite_numbers", "test_training_is_another"
_LOSS, _VIEWS = "test_loss_falls_on_one_batch", "test_views_depend_on_the_batch_alone"
_SEED, _GROUPS = "test_weights_depend_on_the_seed_alone", "test_every_parameter_has_one_group"


# -- what guard returns -----------------------------------------------------------------------


@broken(_ANOTHER)
class ReturnsTheMethod(Right):
    """It returns the method as it was."""

    def guard(self, method, context):
        return method


@broken(_ANOTHER)
class WrapsWithoutChange(Right):
    """Its wrapper does what the method does."""

    def guard(self, method, context):
        return GuardedMethod(method)


@broken(_FINITE, "gave a NoneType, not an SSLMethod")
class ReturnsNone(Right):
    """It forgets to return its wrapper."""

    def guard(self, method, context):
        Turned(method)


@broken(_FINITE, "gave a Encoder, not an SSLMethod")
class ReturnsTheEncoder(Right):
    """It returns the encoder of the method."""

    def guard(self, method, context):
        return method.encoder


@broken(_FINITE, "gave the class Turned, not an SSLMethod")
class ReturnsAClass(Right):
    """It returns the class of its wrapper."""

    def guard(self, method, context):
        return Turned


@broken(_FINITE, "the clean fraction lies in .0, 0.5.")
class TrustsTooManyImages(Right):
    """It requests three quarters of the images as clean."""

    def guard(self, method, context):
        context.clean(0.75)
        return Turned(method)


@broken(_FINITE, "does not act on the training")
class HasNoGuard(Defense):
    """It announces what it does not implement."""


@broken(_FINITE, "raised TypeError")
class FitsNoMethod(Right):
    """It refuses every method."""

    def guard(self, method, context):
        raise TypeError("the method has no projector")


@broken("test_target_is_a_class_of_its_kind")
class IsNoDefense:
    """It has the methods of a defense, and does not derive from Defense."""

    guard = Right.guard

    def __init__(self, options):
        self.options = options


# -- the encoder ------------------------------------------------------------------------------


def _wider(encoder: Encoder) -> Encoder:
    wider = {**encoder.spec.backbone, "widths": [8, 8]}
    return Encoder(replace(encoder.spec, backbone=wider))


class _Owner(GuardedMethod):
    """Trains an encoder of its own, which has another backbone."""

    def __init__(self, method):
        super().__init__(method)
        self.own = _wider(method.encoder)

    @property
    def encoder(self):
        return self.own


@broken("test_encoder_is_the_one_of_the_options", "an encoder of another architecture")
class AnotherBackbone(Right):
    """Its wrapper has an encoder of another backbone."""

    def guard(self, method, context):
        return _Owner(method)


@broken("test_encoder_is_the_one_of_the_options", "an encoder of another architecture")
class SwapsTheEncoder(Right):
    """It puts another backbone into the method itself."""

    def guard(self, method, context):
        method.encoder = _wider(method.encoder)
        return Turned(method)


class _Detached(GuardedMethod):
    def training_loss(self, views):
        with torch.no_grad():
            features = [self.method.encoder(view) for view in views]
        return sum(self.method.head(one).square().mean() for one in features)


@broken(_LOSS, "moved no weight of the encoder")
class TrainsTheHeadAlone(Right):
    """The loss of its wrapper does not reach the encoder."""

    def guard(self, method, context):
        method.encoder.requires_grad_(requires_grad=False)
        return _Detached(method)


# -- the training -----------------------------------------------------------------------------


def _loss(change: Any) -> Any:
    class Changed(GuardedMethod):
        def training_loss(self, views):
            return change(self, super().training_loss(views))

    def guard(self, method, context):
        return Changed(method)

    return guard


@broken(_LOSS, "the loss is nan")
class LossIsNoNumber(Right):
    """The loss of its wrapper is NaN."""

    guard = _loss(lambda _, loss: loss * float("nan"))


@broken(_LOSS, "does not require grad")
class LossWithoutGradient(Right):
    """The loss of its wrapper has no gradient."""

    guard = _loss(lambda _, loss: loss.detach())


@broken(_LOSS)
class LossOfEachImage(Right):
    """The loss of its wrapper has a value for each image."""

    guard = _loss(lambda _, loss: loss.expand(8))


@broken("test_a_stopped_training_goes_on")
class CarriesItsState(Right):
    """It carries a number from epoch to epoch that no checkpoint keeps."""

    def guard(self, method, context):
        class Counting(Turned):
            steps = 0

            def training_loss(self, views):
                return super().training_loss(views) * (1 + self.steps)

            def after_step(self, progress):
                super().after_step(progress)
                self.steps += 1

        return Counting(method)


class _Forgets(GuardedMethod):
    def param_groups(self):
        return [{"params": list(self.method.encoder.parameters())}]


@broken(_GROUPS)
class ForgetsTheHead(Right):
    """The optimizer of its wrapper does not get the head."""

    def guard(self, method, context):
        return _Forgets(method)


class _Twice(GuardedMethod):
    def param_groups(self):
        return [*self.method.param_groups(), {"params": list(self.method.encoder.parameters())}]


@broken(_GROUPS, "raised ValueError")
class UpdatesTwice(Right):
    """The optimizer of its wrapper gets the encoder in two groups."""

    def guard(self, method, context):
        return _Twice(method)


@broken(_FINITE, "raised KeyError")
class RaisesAfterAStep(Right):
    """Its wrapper raises after the first step."""

    def guard(self, method, context):
        wrapper = Turned(method)
        wrapper.after_step = lambda progress: {}[progress.step]  # type: ignore[method-assign]
        return wrapper


# -- what the training depends on -------------------------------------------------------------


def _views(scale: Any) -> Any:
    class Scaled(GuardedMethod):
        def views(self, batch):
            return tuple(view * float(scale(self)) for view in super().views(batch))

    def guard(self, method, context):
        return Scaled(method)

    return guard


@broken(_VIEWS)
class FreshViews(Right):
    """It draws other views of the same batch at each call."""

    guard = _views(lambda _: np.random.default_rng().random())


@broken(_VIEWS)
class ViewsByTheTime(Right):
    """Its views follow from the time."""

    guard = _views(lambda _: time.time() % 1000)


@broken("test_global_generators_are_untouched")
class DrawsFromNumPy(Right):
    """It draws from NumPy's global generator."""

    guard = _loss(lambda _, loss: loss * (1 + np.random.rand()))  # noqa: NPY002 - what is caught


@broken(_SEED)
class WeightsByTheProcess(Right):
    """The weights that it begins with follow from the process id."""

    def guard(self, method, context):
        with torch.no_grad():
            next(method.encoder.parameters()).mul_(1 + os.getpid() % 7)
        return Turned(method)


# -- what it is given -------------------------------------------------------------------------


@broken(_FINITE, "raised ValidationError")
class ChangesTheOptions(Right):
    """It shortens the training by the options of the method."""

    def guard(self, method, context):
        method.training_options.epochs = 1
        return Turned(method)


@broken("", "lies in .0, 0.5.")
class WantsEveryCleanImage(Right):
    """It asks for more clean images than a defense of the training may have."""

    def guard(self, method, context):
        context.clean(1.0)
        return Turned(method)


@broken(_FINITE, "read-only")
class WritesIntoCleanImages(Right):
    """It changes the clean images in place."""

    def guard(self, method, context):
        context.clean(0.5).images.image(0)[:] = 0
        return Turned(method)
