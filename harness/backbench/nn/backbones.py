"""Backbones: modules that map normalized images (B, 3, H, W) to features (B, D)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbench.errors import PluginError
from backbench.nn import cpu
from backbench.options.backbones import BackboneOptions, PluginBackbone
from backbench.system.json_text import to_json

#: The four stages of a torchvision ResNet.
_LAYERS = ("layer1", "layer2", "layer3", "layer4")

#: oneDNN reads and writes so many float32 channels at a time where there is no AVX-512.
_BLOCK = 8


class Backbone(nn.Module):
    """A network, ``body``, that maps (B, 3, H, W) to (B, feature_dim)."""

    def __init__(self, body: nn.Module, feature_dim: int) -> None:
        super().__init__()
        self.body = cpu.with_own_layers(body)
        self.feature_dim = feature_dim

    def forward(self, images: Tensor) -> Tensor:
        """Return features, (B, D), float32, of normalized images (B, 3, H, W) in any layout."""
        return cast("Tensor", self.body(images)).float()

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the maps that :meth:`stage_maps` returns, ``stem`` and ``layer1`` to ``layer4``.

        Raises:
            PluginError: If they are not known, as of timm's models.
        """
        if isinstance(self.body, TinyResNet):
            return ("stem", *(f"block{number + 1}" for number in range(len(self.body.blocks))))
        from torchvision import models  # slow to import

        if isinstance(self.body, models.ResNet):
            return ("stem", *_LAYERS)
        raise PluginError(
            f"the stages of {type(self.body).__name__} are not known: a probe of its stages needs "
            "'tiny-resnet' or a ResNet of torchvision"
        )

    def stage_maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps after the stem's ReLU and after each stage, before any mean.

        Normalized images (B, 3, H, W) give a map (B, C, H', W') for each of :attr:`stages`; of a
        ResNet-18 at 224 pixels 64 × 112², 64 × 56², 128 × 28², 256 × 14², 512 × 7².
        """
        names, body = self.stages, cast("Any", self.body)
        if isinstance(body, TinyResNet):
            maps = [body.stem_maps(images)]
            for block in body.blocks:
                maps.append(block(maps[-1]))
            return maps
        maps = [body.relu(body.bn1(body.conv1(images)))]
        below = body.maxpool(maps[0])
        for name in names[1:]:
            below = getattr(body, name)(below)
            maps.append(below)
        return maps


class BackboneNetwork(nn.Module):
    """Base class of the backbones of plugins: it maps normalized images to features.

    Draw fresh weights from torch's global generator. The features of an image in evaluation mode
    depend on that image and on the state dict alone.

    Example::

        # my_plugin/mixer.py
        from backbench.plugin import BackboneNetwork
        from torch import nn

        class Mixer(BackboneNetwork):
            def __init__(self, options):
                super().__init__(options)
                self.patches = nn.Conv2d(3, options.width, options.patch, options.patch)
                self.norm = nn.BatchNorm2d(options.width)
                self.mix = nn.Conv2d(options.width, options.width, 3, padding=1)

            @property
            def feature_dim(self):
                return self.options.width

            def forward(self, images):
                maps = self.norm(self.patches(images)).relu()
                return (maps + self.mix(maps).relu()).mean((2, 3))
    """

    def __init__(self, options: Any) -> None:
        """Make the layers; ``options`` are the validated ``backbone.arguments``."""
        super().__init__()
        self.options = options

    @property
    def feature_dim(self) -> int:
        """Number of features, D."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Return features, (B, D), of normalized images (B, 3, H, W), float32 or lower."""
        raise NotImplementedError


def build_backbone(options: BackboneOptions) -> Backbone:
    """Build a backbone with fresh weights from torch's global generator.

    Raises:
        PluginError: If timm does not know the model, or if it or a plugin cannot build it.
    """
    if options.name == "tiny-resnet":
        return Backbone(TinyResNet(options), options.widths[-1])
    if options.name.startswith("timm/"):
        return _timm(options.name.removeprefix("timm/"), options.arguments)
    if options.plugin is not None:
        return _of_plugin(options.plugin, options.arguments)
    return _torchvision(options)


class TinyResNet(nn.Module):
    """A residual network for small images and small machines: one block a stage.

    Source: He et al. 2016, Deep residual learning, the basic block and its shortcut of 1×1.
    Differs: one block a stage, and a stem without pooling.
    """

    def __init__(self, options: BackboneOptions) -> None:
        super().__init__()
        width, kernel = options.stem_width, options.stem_kernel
        self.stem = nn.Conv2d(3, width, kernel, options.stem_stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)
        widths = options.widths
        sizes = zip((width, *widths[:-1]), widths, options.strides, strict=True)
        self.blocks = nn.Sequential(*(ResidualBlock(*size) for size in sizes))
        initialize_convolutions(self.modules())

    def forward(self, images: Tensor) -> Tensor:
        """Return the mean over the last map, (B, D), of images (B, 3, H, W)."""
        return cast("Tensor", self.blocks(self.stem_maps(images))).mean((2, 3))

    def stem_maps(self, images: Tensor) -> Tensor:
        """Return the maps before the first block, (B, stem_width, H / stem_stride, …)."""
        return F.relu(self.norm(self.stem(images)), inplace=True)


class _Projection(nn.Conv2d):
    """A convolution of 1 × 1 that leaves positions out before it multiplies the others.

    The same sums as a strided convolution. On processors without AVX-512, oneDNN (torch 2.14)
    writes past the end of the gradient of a strided one on fewer than eight channels, where
    channels come last.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return (B, out, H / stride, W / stride) of maps (B, in, H, W)."""
        rows, columns = self.stride
        return F.conv2d(input[:, :, ::rows, ::columns], self.weight)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut; the first and the shortcut have the stride."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width_out:
            projection = nn.Conv2d if width_in >= _BLOCK else _Projection
            self.shortcut = nn.Sequential(
                projection(width_in, width_out, 1, stride, bias=False), nn.BatchNorm2d(width_out)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, width_out, H / stride, W / stride) of maps (B, width_in, H, W)."""
        inner = F.relu(self.norm1(self.conv1(maps)), inplace=True)
        inner = self.norm2(self.conv2(inner))
        return F.relu(inner + self.shortcut(maps), inplace=True)


def initialize_convolutions(modules: Iterable[nn.Module]) -> None:
    """Draw the weights of convolutions as He et al. 2015 do, by their outputs."""
    for module in modules:
        # Without memory there is nothing to draw, and torch would import its compiler for it.
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _torchvision(options: BackboneOptions) -> Backbone:
    from torchvision import models

    network = models.get_model(options.name, weights=None)
    width = network.fc.in_features
    network.fc = nn.Identity()
    if options.stem != "imagenet":
        padding = 2 if options.stem == "cifar-padded" else 1
        network.conv1 = nn.Conv2d(3, network.conv1.out_channels, 3, 1, padding, bias=False)
        initialize_convolutions([network.conv1])
        network.maxpool = nn.Identity()
    return Backbone(network, width)


def _timm(name: str, arguments: Mapping[str, Any]) -> Backbone:
    import timm

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f": did you mean {close[0]!r}?" if close else ""
        raise PluginError(f"timm {timm.__version__} has no model called {name!r}{hint}")
    try:
        network: Any = timm.create_model(name, pretrained=False, num_classes=0, **arguments)
    except Exception as error:  # each model of timm has checks of its own
        given = f" with arguments = {to_json(dict(arguments))}" if arguments else ""
        raise PluginError(f"timm cannot build {name!r}{given}: {_reason(error)}") from error
    # Some models have a layer between the last map and the head.
    return Backbone(network, getattr(network, "head_hidden_size", network.num_features))


def _of_plugin(plugin: PluginBackbone, arguments: Mapping[str, Any]) -> Backbone:
    who = f"backbone {plugin.name!r} of {plugin.distribution}"
    made = plugin.load()
    if not issubclass(made, BackboneNetwork):
        raise PluginError(f"{who}: {made.__name__} is not a backbench.plugin.BackboneNetwork")
    try:
        network = made(plugin.validated(arguments))
        width: object = network.feature_dim
    except PluginError:
        raise
    except Exception as error:  # a stranger's code
        raise PluginError(f"{who} raised {type(error).__name__}: {_reason(error)}") from error
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise PluginError(f"{who}: its feature_dim is {width!r}, and must be a number of features")
    return Backbone(network, width)


def backbone_problem(options: BackboneOptions, side: int) -> str | None:
    """Return why a backbone cannot be built, or see images of a side; no weight is drawn."""
    try:
        with torch.device("meta"), torch.no_grad():
            network = build_backbone(options).eval()
            found = network(torch.empty(2, 3, side, side))
    except PluginError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - each network has checks of its own
        helps = not options.arguments and options.plugin is None
        hint = f"; backbone.arguments may help: {{ img_size = {side} }}" if helps else ""
        return f"{options.name} cannot see images of {side} x {side} px: {_reason(error)}{hint}"
    if found.shape != (2, network.feature_dim):
        return f"{options.name} gives {tuple(found.shape[1:])} for an image, not its features (D,)"
    return None


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
