"""Options of the backbone, and the backbones of plugins by the names that options call them by.

Options are read where no registry is at hand: in the record of a stage, in the files of an encoder.
So the registry tells this module which backbones there are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from backbench.errors import BackbenchError
from backbench.model import PluginUse
from backbench.options.base import ExcludeDefaultFromKey, Options
from backbench.options.resnets import RESNETS

#: The kind under which a backbone of a plugin enters a stage.
KIND = "backbone"

#: Names of the built-in backbones, which no plugin's can have.
OWN = frozenset({"tiny-resnet", *RESNETS})


@dataclass(frozen=True, slots=True)
class PluginBackbone:
    """A backbone that a plugin announces.

    Args:
        name: Its name.
        distribution: The distribution that it comes from.
        revision: The revision of its record.
        options: The model of its options.
        load: Imports its class.
    """

    name: str
    distribution: str
    revision: int
    options: type[Options]
    load: Callable[[], type[Any]]

    def validated(self, arguments: Mapping[str, Any]) -> Options:
        """Validate arguments.

        Raises:
            ValueError: With every problem of theirs, in one sentence.
        """
        try:
            return self.options.model_validate(dict(arguments))
        except ValidationError as error:
            sentences = [
                f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
                for one in error.errors(include_url=False)
            ]
            raise ValueError("; ".join(sentences)) from None

    def use(self, arguments: Mapping[str, Any]) -> PluginUse:
        """Return the backbone with its arguments as they enter a stage."""
        options = self.validated(arguments)
        values, identity = options.model_dump(mode="json"), options.identity()
        return PluginUse(KIND, self.name, self.distribution, self.revision, values, identity)


_ANNOUNCED: dict[str, Callable[[], PluginBackbone]] = {}


def announce(name: str, find: Callable[[], PluginBackbone]) -> None:
    """Let options name a backbone, which ``find`` finds or raises a PluginError."""
    _ANNOUNCED[name] = find


def announced() -> Iterable[str]:
    """Return the names of the backbones of plugins."""
    return _ANNOUNCED.keys()


def plugin_backbone(name: str) -> PluginBackbone | None:
    """Return the backbone of a plugin; ``None`` if no plugin has one of this name.

    Raises:
        ValueError: If several plugins have.
    """
    if name not in _ANNOUNCED:
        return None
    try:
        return _ANNOUNCED[name]()
    except BackbenchError as error:
        raise ValueError(str(error)) from error


_TIMM = re.compile(r"timm/[\w.\-]+")


#: Arguments of timm's create_model that a user cannot give: weights are fresh, images are RGB, and
#: a backbone returns its features.
_FIXED = frozenset(
    {"cache_dir", "checkpoint_path", "features_only", "global_pool", "in_chans", "num_classes"}
    | {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict"}
)


class BackboneOptions(Options):
    """The network that maps an image to its features."""

    name: str = Field(
        "resnet18",
        description="'tiny-resnet' (small, for CPUs), a torchvision ResNet ('resnet18', "
        "'resnet50', 'wide_resnet50_2', …), 'timm/<model>', or the name of a plugin's backbone",
    )
    stem: Literal["imagenet", "cifar", "cifar-padded"] = Field(
        "imagenet",
        description="first layers of a torchvision ResNet: 7×7 stride 2 and a pooling; for "
        "images of about 32 pixels, 3×3 stride 1 and no pooling ('cifar'); or that with 2 "
        "pixels of padding, as solo-learn has it ('cifar-padded')",
    )
    widths: tuple[int, ...] = Field(
        (16, 32, 64), min_length=1, description="channels of each stage of 'tiny-resnet'"
    )
    strides: tuple[Literal[1, 2], ...] = Field(
        (1, 2, 2), min_length=1, description="stride of each stage of 'tiny-resnet'"
    )
    stem_width: int = Field(16, ge=1, description="channels of the first layer of 'tiny-resnet'")
    stem_kernel: Literal[3, 5, 7] = Field(3, description="its kernel, in pixels")
    stem_stride: Literal[1, 2, 4] = Field(2, description="its stride, in pixels")
    arguments: Annotated[dict[str, JsonValue], ExcludeDefaultFromKey()] = Field(
        {},
        validate_default=True,
        description="arguments of the model 'timm/<model>', as timm's create_model takes them: "
        "{ img_size = 32, patch_size = 4 } for a ViT and images of 32 pixels; or the options of a "
        "plugin's backbone",
    )

    @property
    def has_stages(self) -> bool:
        """Return whether the maps of its stages are known: of the built-in backbones."""
        return self.name in OWN

    @property
    def plugin(self) -> PluginBackbone | None:
        """The backbone of a plugin that has this name; ``None`` if none has."""
        return plugin_backbone(self.name)

    def use(self) -> PluginUse | None:
        """Return a plugin's backbone as it enters a stage; ``None`` of any other."""
        return self.plugin.use(self.arguments) if self.plugin else None

    def identity(self) -> dict[str, Any]:
        """Return what enters a stage's key; of a plugin's backbone the stage names the plugin."""
        keyed, use = super().identity(), self.use()
        return {**keyed, "arguments": dict(use.identity)} if use else keyed

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in OWN and not _TIMM.fullmatch(name) and plugin_backbone(name) is None:
            close = difflib.get_close_matches(name, [*OWN, *announced()], n=1)
            hint = f": did you mean {close[0]!r}?" if close else ""
            message = (
                f"{name!r} is not a backbone: 'tiny-resnet', a torchvision ResNet "
                "('resnet18', 'resnet34', 'resnet50', …), 'timm/<model>' or the name of a "
                f"plugin's{hint}"
            )
            raise ValueError(message)
        return name

    @field_validator("arguments")
    @classmethod
    def _complete(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Validate the options of a plugin's backbone, and fill their defaults in."""
        plugin = plugin_backbone(info.data.get("name", ""))
        return plugin.validated(given).model_dump(mode="json") if plugin else given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.strides) != len(self.widths):
            raise ValueError(
                f"{len(self.widths)} widths need {len(self.widths)} strides, "
                f"not {len(self.strides)}"
            )
        if min(self.widths) < 1:
            raise ValueError("widths: each must be at least 1")
        if self.stem != "imagenet" and self.name not in RESNETS:
            raise ValueError(f"{self.name} has a stem of its own: leave out stem = {self.stem!r}")
        if self.arguments and self.has_stages:
            raise ValueError(f"arguments: no built-in backbone takes any, nor does {self.name}")
        fixed = _FIXED & self.arguments.keys()
        if fixed and self.plugin is None:
            raise ValueError(f"arguments: {min(fixed)!r} is set by the harness: leave it out")
        return self


def backbones_in(value: Any) -> Iterator[PluginUse]:
    """Yield the backbones of plugins that options name, at whatever depth."""
    if isinstance(value, BackboneOptions):
        if (use := value.use()) is not None:
            yield use
    elif isinstance(value, Options):
        for name in type(value).model_fields:
            yield from backbones_in(getattr(value, name))
    elif isinstance(value, list | tuple | Mapping):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from backbones_in(one)
