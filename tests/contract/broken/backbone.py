"""Backbones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backbench.errors import PluginError
from backbench.nn import Encoder, EncoderSpec, load_encoder, save_encoder
from backbench.nn.backbones import backbone_problem
from backbench.options.backbones import BackboneOptions
from backbench.plugin import BackboneInfo, BackboneNetwork, Field, Options, hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry
from backbench.testing import BackboneContract
from tests.contract.broken import broken


class WidthOptions(Options):
    width: int = Field(8, ge=1, description="number of features")


class Right(BackboneNetwork):
    """Two convolutions and a batch norm."""

    def __init__(self, options):
        super().__init__(options)
        self.first = nn.Conv2d(3, options.width, 3, 2)
        self.norm = nn.BatchNorm2d(options.width)
        self.second = nn.Conv2d(options.width, options.width, 3, 2)

    @property
    def feature_dim(self):
        return self.options.width

    def forward(self, images):
        return self.second(self.norm(self.first(images)).relu()).mean((2, 3))


class Kit(BackboneContract):
    __test__ = False
    info = BackboneInfo(
        name="right", summary="R.", target=f"{__name__}:Right", options=WidthOptions
    )
    sample: Any = Right

    def __init__(self) -> None:
        self.info = replace(type(self).info, target=f"{__name__}:{self.sample.__name__}")


class Announces:
    """The plugin of a backbone."""

    def __init__(self, info: BackboneInfo) -> None:
        self.info = info

    @hookimpl
    def register_backbones(self):
        yield self.info


def harness(kit: Kit, folder: Path) -> None:
    """Build it as ``backbench check`` does, and write and read an encoder of it."""
    registry = Registry()
    registry.add(Announces(kit.info), Origin("broken", "", ""))
    assert not registry.failures
    chosen = BackboneOptions(name=kit.info.name)
    if problem := backbone_problem(chosen, 32):
        raise PluginError(problem)
    folder.mkdir(parents=True, exist_ok=True)
    spec = EncoderSpec(chosen.model_dump(mode="json"), 32, (0.5,) * 3, (0.25,) * 3)
    save_encoder(folder, Encoder(spec))
    load_encoder(folder)


_SHAPE, _ALONE = "test_features_are_a_row_an_image", "test_one_image_is_enough_in_evaluation_mode"
_SAME, _FRESH = "test_features_are_deterministic", "test_weights_are_of_the_global_generator"
_MANY = "test_many_images_have_the_features_of_few"
_STATE, _META = "test_the_state_dict_holds_the_network", "test_it_is_built_without_numbers"


@broken(_SHAPE, r"gives \(8, 7, 7\) for an image")
class Maps(Right):
    """Return maps."""

    def forward(self, images):
        return self.second(self.norm(self.first(images)).relu())


@broken(_SHAPE, r"gives \(8,\) for an image")
class Wider(Right):
    """Announce more features than there are."""

    @property
    def feature_dim(self):
        return 2 * self.options.width


@broken(_SHAPE, "its feature_dim is 8.0")
class Fraction(Right):
    """Announce a number of features with a fraction."""

    @property
    def feature_dim(self):
        return float(self.options.width)


@broken(_SHAPE)
class Blind(Right):
    """Return the same features of all images."""

    def forward(self, images):
        return 0 * super().forward(images) + 1


@broken(_ALONE)
class OfTheBatch(Right):
    """Center the features of a batch."""

    def forward(self, images):
        found = super().forward(images)
        return found - found.mean(0, keepdim=True)


@broken(_MANY)
class OfALargeBatch(Right):
    """Center the features of a batch of 32 or more."""

    def forward(self, images):
        found = super().forward(images)
        return found - found.mean(0, keepdim=True) if len(images) >= 32 else found


@broken(_MANY)
class ScaledByTheFirst(Right):
    """Divide all images by the deviation of the first batch."""

    scale: Any = None

    def forward(self, images):
        if self.scale is None and not images.is_meta:
            self.scale = float(images.std())
        return super().forward(images / (self.scale or 1.0))


@broken(_SAME)
class DropsAlways(Right):
    """Drop features in evaluation mode too."""

    def forward(self, images):
        return nn.functional.dropout(super().forward(images), 0.5, training=True)


@broken(_SAME)
class Counts(Right):
    """Scale features by the number of calls."""

    calls = 0

    def forward(self, images):
        self.calls += 1
        return super().forward(images) * self.calls


@broken(_FRESH)
class OwnGenerator(Right):
    """Draw every weight from a generator of its own."""

    def __init__(self, options):
        super().__init__(options)
        generator = torch.Generator().manual_seed(0)
        for one in self.parameters():
            if not one.is_meta:
                nn.init.normal_(one, generator=generator)


@broken(_STATE)
class HiddenWeight(Right):
    """Keep a drawn factor outside the state dict."""

    def __init__(self, options):
        super().__init__(options)
        self.factor = 1 + torch.rand(1, device="cpu").item()

    def forward(self, images):
        return super().forward(images) * self.factor


@broken(_META, "raised (RuntimeError|NotImplementedError)")
class ReadsWeights(Right):
    """Read the number of a weight while it is made."""

    def __init__(self, options):
        super().__init__(options)
        self.scale = float(self.first.weight.std())


@broken("test_it_trains")
class Detached(Right):
    """Return features without a gradient."""

    def forward(self, images):
        return super().forward(images).detach()


@broken("test_target_is_a_class_of_its_kind", "is not a backbench.plugin.BackboneNetwork")
class PlainModule(nn.Module):
    """A module that is no BackboneNetwork."""

    def __init__(self, options):
        super().__init__()


@broken(_SHAPE, "raised AttributeError")
class NoOptions(BackboneNetwork):
    """Read an option that is not there."""

    def __init__(self, options):
        super().__init__(options)
        self.first = nn.Conv2d(3, options.channels, 3)
