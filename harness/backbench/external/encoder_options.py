"""Options of an import: the file, its layout, and what its weights do not contain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from pydantic import Field

from backbench.errors import UsageError
from backbench.external.layouts import REVISION
from backbench.model import PluginUse
from backbench.options.backbones import BackboneOptions
from backbench.options.base import MOST_SIDE
from backbench.options.training import IMAGENET_MEAN, IMAGENET_STD, LEAST_DEVIATION, RGB, Std
from backbench.plugin import LocalPath, Options
from backbench.plugin.suggestions import suggestion

#: The kind under which a layout enters a stage, where plugins have theirs.
KIND = "layout"

#: The name in the place of a layout where the encoder is a module in memory.
MODULE = "module"

#: Means and standard deviations of red, green and blue in [0, 1] that go by a name.
#:
#: Source: over all training images of CIFAR-10 and of CIFAR-100; ``cifar10-imagewise`` has the
#: mean over images of each image's standard deviation, which much published code uses.
NORMALIZATIONS: Mapping[str, tuple[RGB, RGB]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar10-imagewise": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


class ImportOptions(Options):
    """A file of weights, and how the encoder in it is to be used."""

    weights: LocalPath = Field(description="the file of weights")
    layout: str = Field(description="how the file is laid out")
    prefix: str | None = Field(
        default=None, description="where in the file the encoder begins; left out, as layout says"
    )
    backbone: BackboneOptions = Field(description="the network that the weights are of")
    image_size: int = Field(
        ge=1, le=MOST_SIDE, description="side in pixels at which images are evaluated"
    )
    mean: RGB = Field(description="subtracted from red, green, blue in [0, 1]")
    std: Std = Field(description="what red, green, blue are then divided by")

    def use(self) -> PluginUse:
        """Return the layout and these options as they enter an import stage."""
        return _use(self.layout, self)

    def backbone_use(self) -> PluginUse | None:
        """Return the plugin of the backbone; ``None`` if no plugin has it."""
        return self.backbone.use()


class ModuleOptions(Options):
    """A module in memory, as an import stage names it."""

    name: str = Field(description="name of its class")
    image_size: int = Field(
        ge=1, le=MOST_SIDE, description="side in pixels at which images are evaluated"
    )

    @property
    def weights(self) -> PurePath:
        """Return what stands in the place of a file's name."""
        return PurePath(self.name)

    def use(self) -> PluginUse:
        """Return this as it enters an import stage."""
        return _use(MODULE, self)

    def backbone_use(self) -> PluginUse | None:
        """Return ``None``: the module is its own network."""
        return None


def _use(layout: str, options: Options) -> PluginUse:
    values, identity = options.model_dump(mode="json"), options.identity()
    return PluginUse(KIND, layout, "backbench", REVISION, values, identity)


def normalization(text: str) -> tuple[RGB, RGB]:
    """Read a normalization: a name, or three means, a slash and three standard deviations.

    Args:
        text: ``imagenet``, ``cifar10``, ``0.5,0.5,0.5/0.25,0.25,0.25``.

    Raises:
        UsageError: If it is neither.
    """
    if text in NORMALIZATIONS:
        return NORMALIZATIONS[text]
    if not {",", "/", "."} & set(text):
        raise UsageError(
            f"--normalize: nothing is called {text!r}{suggestion(text, NORMALIZATIONS)}"
        )
    mean, _, std = (_three(part) for part in text.partition("/"))
    if mean is None or std is None or min(std) < LEAST_DEVIATION:
        raise UsageError(
            f"--normalize {text!r}: write a name ({', '.join(NORMALIZATIONS)}), or three means and "
            "three positive deviations: 0.5,0.5,0.5/0.25,0.25,0.25"
        )
    return mean, std


def _three(text: str) -> RGB | None:
    try:
        red, green, blue = (float(one) for one in text.split(","))
    except ValueError:
        return None
    finite = all(abs(one) < float("inf") for one in (red, green, blue))
    return (red, green, blue) if finite else None
