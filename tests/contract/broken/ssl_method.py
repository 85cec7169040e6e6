"""SSL methods."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backbench.model import StageKind
from backbench.nn import Encoder, mlp, nt_xent
from backbench.plugin import (
    SSLMethodInfo,
    SSLOptions,
    TwoViewMethod,
    ViewTrainingOptions,
    random_view,
)
from backbench.testing import SSLMethodContract
from backbench.testing.hygiene import run_once
from tests.contract.broken import broken


class ContrastOptions(SSLOptions, ViewTrainingOptions):
    """Options of the method."""


class Right(TwoViewMethod):
    """Contrasts two views."""

    def __init__(self, options, context):
        super().__init__(options, context)
        self.g = mlp(self.encoder.feature_dim, 8, 8)

    def training_loss(self, views):
        return self.contrast(*(self.encoder(view) for view in views))

    def contrast(self, *features):
        unit = [torch.nn.functional.normalize(self.g(one), dim=1) for one in features]
        return nt_xent(*unit, 0.5)


class Kit(SSLMethodContract):
    __test__ = False
    info = SSLMethodInfo(
        name="contrast", summary="C.", target=f"{__name__}:Right", options=ContrastOptions
    )
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    run_once(folder, kit, StageKind.PRETRAIN)


_LOSS, _VIEWS = "test_loss_falls_on_one_batch", "test_views_depend_on_the_batch_alone"
_ANEW = "test_views_of_other_batches_draw_anew"
_SEED, _GROUPS = "test_weights_depend_on_the_seed_alone", "test_every_parameter_has_one_group"


@broken(_LOSS, "the loss is nan")
class LossIsNoNumber(Right):
    """Its loss is NaN."""

    def training_loss(self, views):
        return super().training_loss(views) * float("nan")


@broken(_LOSS)
class LossOfEachImage(Right):
    """Its loss has a value for each image."""

    def training_loss(self, views):
        return super().training_loss(views).expand(8)


@broken(_LOSS)
class LossIsAFloat(Right):
    """Its loss is a float."""

    def training_loss(self, views):
        return super().training_loss(views).item()


@broken(_LOSS, "does not require grad")
class LossWithoutGradient(Right):
    """Its loss has no gradient."""

    def training_loss(self, views):
        return super().training_loss(views).detach()


@broken(_LOSS)
class LossIsConstant(Right):
    """Its loss is the same for all weights."""

    def training_loss(self, views):
        return 0 * super().training_loss(views) + 1


@broken(_LOSS)
class LossOfTheHeadAlone(Right):
    """Its loss depends on the weights of the head alone."""

    def training_loss(self, views):
        return super().training_loss([view * 0 for view in views]) * 0 + sum(
            one.square().sum() for one in self.g.parameters()
        )


@broken(_LOSS, "moved no weight of the encoder")
class TrainsTheHeadAlone(Right):
    """Its loss does not reach the encoder."""

    def __init__(self, options, context):
        super().__init__(options, context)
        self.encoder.requires_grad_(requires_grad=False)

    def training_loss(self, views):
        with torch.no_grad():
            features = [self.encoder(view) for view in views]
        return self.contrast(*features)


@broken(_LOSS, "raised RuntimeError")
class RaisesInLoss(Right):
    """Its shapes do not fit."""

    def training_loss(self, views):
        return views[0] @ torch.zeros(7, 7)


@broken(_LOSS, "raised IndexError")
class WantsAThirdView(Right):
    """It asks for a view that it has not made."""

    def training_loss(self, views):
        return super().training_loss([views[0], views[2]])


@broken(_VIEWS)
class FreshViews(Right):
    """It draws other views of the same batch at each call."""

    noise = torch.Generator().manual_seed(0)

    def views(self, batch):
        return [view + torch.rand(1, generator=self.noise) for view in super().views(batch)]


@broken(_VIEWS)
class ViewsByTheTime(Right):
    """Its views follow from the time."""

    def views(self, batch):
        return [view * (time.time() % 1000) for view in super().views(batch)]


@broken(_VIEWS)
class CountsItsViews(Right):
    """Its views follow from how many it has made."""

    made_before = 0

    def views(self, batch):
        self.made_before += 1
        return [view / self.made_before for view in super().views(batch)]


@broken(_VIEWS)
class MakesNoViews(Right):
    """It makes no views."""

    def views(self, batch):
        return []


@broken(_ANEW)
class OneNoiseForAllBatches(Right):
    """It draws the same noise for all batches and epochs: they have one seed."""

    def views(self, batch):
        noise = torch.Generator().manual_seed(batch.seed % 2**63)
        return [view + 0.1 * torch.rand(1, generator=noise) for view in super().views(batch)]


@broken(_ANEW)
class OneSwapForAllBatches(Right):
    """It swaps its views by a draw that is the same for all batches and epochs."""

    def views(self, batch):
        views = super().views(batch)
        return views[::-1] if np.random.default_rng([batch.seed, 1]).random() < 0.5 else views


@broken(_ANEW)
class OneViewTwice(Right):
    """Both its views have one number."""

    def views(self, batch):
        side, views = self.context.image_size, self.training_options.views
        return [random_view(batch, views, side, 0) for _ in range(2)]


@broken(_GROUPS)
class ForgetsItsHead(Right):
    """Its optimizer does not get the head."""

    def param_groups(self):
        return [{"params": list(self.encoder.parameters())}]


@broken(_GROUPS, "raised ValueError")
class UpdatesTwice(Right):
    """Its optimizer gets the encoder in two groups."""

    def param_groups(self):
        return [{"params": list(self.parameters())}, {"params": list(self.encoder.parameters())}]


@broken(_SEED)
class WeightsByTheProcess(Right):
    """Its first weights follow from the process id."""

    def __init__(self, options, context):
        torch.manual_seed(os.getpid())
        super().__init__(options, context)


@broken(_SEED)
class SameWeightsForAllSeeds(Right):
    """It seeds the generator itself, and shuffles nothing else."""

    def __init__(self, options, context):
        torch.manual_seed(0)
        super().__init__(options, context)

    def training_loss(self, views):
        return self.contrast(*(self.encoder(0 * view) for view in views)) * 0 + sum(
            one.square().sum() for one in self.parameters()
        )


@broken("test_a_stopped_training_goes_on")
class CarriesItsState(Right):
    """It carries an average from step to step in an attribute that no checkpoint keeps."""

    average = 0.0

    def training_loss(self, views):
        loss = super().training_loss(views)
        type(self).average = 0.9 * self.average + loss.item()
        return loss * (1 + self.average)


@broken("test_encoder_is_the_one_of_the_options")
class AnotherBackbone(Right):
    """It trains another backbone than the options state."""

    def __init__(self, options, context):
        super().__init__(options, context)
        spec = self.encoder.spec
        wider = {**spec.backbone, "widths": [8, 8]}
        self.encoder = Encoder(type(spec)(wider, spec.image_size, spec.mean, spec.std))
        self.g = mlp(self.encoder.feature_dim, 8, 8)


@broken("test_global_generators_are_untouched")
class DrawsFromNumPy(Right):
    """It draws from NumPy's global generator."""

    def training_loss(self, views):
        return super().training_loss(views) * (1 + np.random.rand())  # noqa: NPY002


@broken("test_training_gives_a_log_of_finite_numbers", "raised KeyError")
class RaisesAfterAStep(Right):
    """It raises after the first step."""

    def after_step(self, progress):
        raise KeyError(progress.step)


@broken("test_training_gives_a_log_of_finite_numbers", "the encoder has collapsed")
class Collapses(Right):
    """Its encoder gives all images the same features."""

    def training_loss(self, views):
        return super().training_loss(views)

    def after_step(self, progress):
        for parameter in self.encoder.parameters():
            parameter.zero_()


@broken("test_target_is_a_class_of_its_kind")
class IsNoMethod(torch.nn.Module):
    """It is a module that is no SSL method."""
