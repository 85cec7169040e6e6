"""Options of training: settings of backbone, optimizer, schedule and views.

The defaults are the values published for photographs of 224 pixels; each info record of a
built-in method carries a preset ``small`` for images of about 32 pixels. Nothing here needs
torch.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from backbench.model import PluginUse
from backbench.options.backbones import OWN, PluginBackbone, announced, plugin_backbone
from backbench.options.base import (
    MOST_SIDE,
    DatasetMetadata,
    ExcludeDefaultFromKey,
    ExcludeFromKey,
    Options,
    count_of,
    refuse_unread,
)
from backbench.options.resnets import RESNETS

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

#: Side of views and of evaluated images where the images of a dataset differ in size.
LARGE_SIDE = 224

_TIMM = re.compile(r"timm/[\w.\-]+")

#: Arguments of timm's create_model that a user cannot give: weights are fresh, images are RGB, and
#: a backbone returns its features.
_FIXED = frozenset(
    {"cache_dir", "checkpoint_path", "features_only", "global_pool", "in_chans", "num_classes"}
    | {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict"}
)

RGB = tuple[float, float, float]

#: Least deviation of a color in [0, 1]: 255 levels are 1 / 255 apart.
LEAST_DEVIATION = 1e-6


def _positive(std: RGB) -> RGB:
    if min(std) < LEAST_DEVIATION:
        raise ValueError(f"std: each value must be positive, at least {LEAST_DEVIATION:g}")
    return std


#: Divides red, green, blue.
Std = Annotated[RGB, AfterValidator(_positive)]


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


class EvaluatorOptions(Options):
    """Base of the options of an evaluator that works only with some backbones."""

    def encoder_problems(self, backbone: BackboneOptions) -> Iterable[str]:  # noqa: ARG002
        """Return why an evaluator with these options cannot evaluate a backbone.

        Called before anything runs, for each backbone that the evaluator meets in the matrix, or
        that is imported; one sentence a problem.
        """
        return ()


class GuardOptions(Options):
    """Base of the options of a defense that does not fit every SSL method."""

    def method_problems(self, method: SSLOptions) -> Iterable[str]:  # noqa: ARG002
        """Return why a defense of the training cannot wrap a method with these options.

        Called before anything runs, for each method that the defense meets in the matrix; one
        sentence a problem.
        """
        return ()


class OptimizerOptions(Options):
    """The optimizer, which updates the weights."""

    name: Literal["sgd", "adam", "adamw", "lars"] = Field(
        "sgd",
        description="SGD with momentum; Adam; Adam with decoupled weight decay; or SGD with "
        "momentum whose learning rate adapts to each layer",
    )
    lr: float = Field(0.03, gt=0, description="learning rate, before the schedule")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD and LARS")
    weight_decay: float = Field(
        1e-4,
        ge=0,
        description="L2 penalty added to the gradient (coupled, also for Adam); AdamW subtracts it "
        "from the weights, times the learning rate",
    )
    decay: Literal["all", "weights", "not-bn-or-bias"] = Field(
        "all",
        description="what is decayed: everything; neither biases nor batch norms ('weights'); or "
        "all whose name neither holds 'bn' nor ends in 'bias', as in the published Jigsaw: in "
        "torchvision's ResNets the batch norms of shortcuts are called 'downsample.1'",
    )
    betas: Annotated[
        tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]],
        ExcludeDefaultFromKey(),
    ] = Field(
        (0.9, 0.999),
        description="decay of the averages of the gradient and of its square, of Adam and AdamW",
    )
    nesterov: Annotated[bool, ExcludeDefaultFromKey()] = Field(
        default=False, description="Nesterov's momentum, of SGD"
    )
    trust: Annotated[float, ExcludeDefaultFromKey()] = Field(
        0.001,
        gt=0,
        description="trust coefficient of LARS: length of a layer's step at learning rate 1, as a "
        "share of the length of its weights",
    )

    @model_validator(mode="after")
    def _used(self) -> Self:
        refuse_unread(self, "name", _READERS)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov = true requires momentum > 0")
        return self


#: Optimizers that read an option which others do not.
_READERS = {"betas": ("adam", "adamw"), "nesterov": ("sgd",), "trust": ("lars",)}


class ScheduleOptions(Options):
    """The schedule of the learning rate; epochs are counted from 0."""

    name: Literal["cosine", "step", "constant"] = Field("cosine", description="shape")
    per: Literal["epoch", "step"] = Field(
        "epoch", description="how often a cosine is evaluated: once an epoch, or at each step"
    )
    milestones: tuple[int, ...] = Field(
        (), description="epochs from which on 'step' multiplies the rate by gamma"
    )
    gamma: float = Field(0.1, gt=0, le=1, description="factor of 'step'")
    warmup_steps: int = Field(
        0, ge=0, description="steps over which the rate rises linearly to its value"
    )
    warmup_epochs: int = Field(0, ge=0, description="epochs of the same, added to warmup_steps")

    def warmup(self, steps_per_epoch: int) -> int:
        """Return the number of steps over which the rate rises."""
        return self.warmup_steps + self.warmup_epochs * steps_per_epoch


class ViewOptions(Options):
    """Random views of an image: crop, flip, color jitter, gray, blur."""

    size: int | None = Field(
        None,
        ge=8,
        le=MOST_SIDE,
        description="side in pixels; by default the images' own where they share one, else 224",
    )
    scale: tuple[float, float] = Field(
        (0.2, 1.0), description="least and largest area of the crop, as a share of the image's"
    )
    ratio: tuple[float, float] = Field(
        (3 / 4, 4 / 3), description="least and largest width over height of the crop"
    )
    interpolation: Literal["bilinear", "bicubic"] = Field(
        "bilinear", description="filter of the resizing, antialiased"
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    jitter: float = Field(0.8, ge=0, le=1, description="probability of the color jitter")
    brightness: float = Field(0.4, ge=0, le=1, description="strength: factor 1 ± this")
    contrast: float = Field(0.4, ge=0, le=1, description="strength: factor 1 ± this")
    saturation: float = Field(0.4, ge=0, le=1, description="strength: factor 1 ± this")
    hue: float = Field(0.1, ge=0, le=0.5, description="strength: turns of the color circle")
    grayscale: float = Field(0.2, ge=0, le=1, description="probability of a gray image")
    blur: float = Field(0.5, ge=0, le=1, description="probability of a Gaussian blur")
    blur_sigma: tuple[float, float] = Field(
        (0.1, 2.0), description="least and largest standard deviation of the blur, in pixels"
    )
    color: Literal["exact", "linear"] = Field(
        "exact",
        description="jitter as torchvision does it, or, faster, as one linear map of the "
        "colors: hue turned in YIQ, and clipped to the range once at the end",
    )

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name in ("scale", "ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} = [{low}, {high}] is not a range of positive numbers")
        if self.scale[1] > 1:
            raise ValueError("scale is a share of the image's area: at most 1")
        return self


class TrainingOptions(Options):
    """Options of the training loop; the base of the options of everything that trains."""

    epochs: int = Field(
        200,
        ge=0,
        description="passes over the training images; 0 leaves the random weights of the start",
    )
    batch_size: int = Field(256, ge=2, description="images a step")
    last_batch: Literal["drop", "keep"] = Field(
        "drop",
        description="what becomes of an epoch's last batch where it is not full: left out, or "
        "trained on (but for what its norm groups do not share evenly, and unless there are "
        "fewer than two images for each)",
    )
    optimizer: OptimizerOptions = Field(
        OptimizerOptions(), description="how the weights are updated"
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(), description="how the learning rate changes"
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto", description="arithmetic of the network; auto: bf16 where the device has it"
    )
    channels_last: Annotated[bool | Literal["auto"], ExcludeFromKey()] = Field(
        "auto",
        description="memory layout of convolutions; auto: channels last; oneDNN's own for "
        "torchvision's ResNets in bf16 on a processor",
    )
    compile: Annotated[bool, ExcludeFromKey()] = Field(
        default=False, description="compile the networks with torch.compile"
    )
    checkpoint_minutes: Annotated[float, ExcludeFromKey()] = Field(
        10,
        ge=0,
        description="least minutes between two checkpoints of the training; 0: after each epoch",
    )
    knn_evaluations: int = Field(
        5, ge=0, description="how often k-NN accuracy is logged in the course of the training"
    )

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults(cls, given: Any) -> Any:
        """Let a table change only what it names: the rest is the method's own default."""
        if not isinstance(given, Mapping):
            return given
        merged = dict(given)
        for name, field in cls.model_fields.items():
            value = merged.get(name)
            if isinstance(field.default, Options) and isinstance(value, Mapping):
                merged[name] = {**field.default.model_dump(), **value}
        return merged

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        late = [epoch for epoch in self.schedule.milestones if epoch >= self.epochs]
        if self.schedule.name == "step" and late:
            raise ValueError(
                f"schedule.milestones: epoch {late[0]} is never reached in {self.epochs} epochs: "
                "set earlier milestones, or [] for none"
            )
        if self.schedule.warmup_epochs and self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs = {self.schedule.warmup_epochs} is not less than epochs "
                f"= {self.epochs}: set it to at most {max(0, self.epochs - 1)}"
            )
        return self

    def problems(self, data: DatasetMetadata) -> Iterable[str]:
        """Yield why these options cannot work on a dataset."""
        return self.training_problems(self.training_images(data.train))

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a step, counted from 0 over the whole training.

        Source: published code, moco/main_moco.py (cosine, an epoch at a time), byol/train.py
            (rising over the first steps), jigsaw/train_jigsaw.py and the configurations of rotnet.
        Differs: a cosine with a warm-up begins where the warm-up ends.
        """
        schedule, base = self.schedule, self.optimizer.lr
        warmup, epoch = schedule.warmup(steps_per_epoch), step // steps_per_epoch
        if step < warmup:
            return base * (step + 1) / warmup
        if schedule.name == "step":
            return base * schedule.gamma ** sum(epoch >= m for m in schedule.milestones)
        if schedule.name == "constant":
            return base
        position = step if schedule.per == "step" else epoch * steps_per_epoch
        total = self.epochs * steps_per_epoch - warmup
        return base * (1 + math.cos(math.pi * max(position - warmup, 0) / total)) / 2

    def training_images(self, images: int) -> int:
        """Return how many of a dataset's training images are trained on."""
        return images

    def view_side(self, size: tuple[int, int] | None) -> int:
        """Return the side of the views in pixels, for images of one size or of several."""
        return image_side(size, None)

    def epoch_images(self, images: int) -> int:
        """Return how many of the images an epoch trains on; batch norm needs two a group."""
        groups = getattr(self, "norm_groups", 1)
        rest = images % self.batch_size
        kept = self.last_batch == "keep" and rest >= 2 * groups
        return images - rest + (rest - rest % groups if kept else 0)

    def steps_per_epoch(self, images: int) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(self.epoch_images(images) / self.batch_size)

    def training_problems(self, images: int) -> Iterator[str]:
        """Yield why the loop cannot work on so many images."""
        if self.batch_size > images:
            yield (
                f"batch_size = {self.batch_size} is more than the {images} training images: "
                f"set it to at most {images}"
            )
            return
        steps = self.epochs * self.steps_per_epoch(images)
        if self.schedule.warmup_steps and self.schedule.warmup_steps >= steps:
            yield (
                f"schedule.warmup_steps = {self.schedule.warmup_steps} is not less than the "
                f"training's {steps} steps: set it to at most {max(0, steps - 1)}"
            )


class ViewTrainingOptions(TrainingOptions):
    """Base of the options of a training on random views of the images."""

    views: ViewOptions = Field(ViewOptions(), description="the random views of an image")

    def view_side(self, size: tuple[int, int] | None) -> int:
        """Return the side of the views in pixels: that of the options, else that of the images."""
        return image_side(size, self.views.size)


class CleanTrainingOptions(TrainingOptions):
    """Base of the options of a defense that trains on clean images."""

    clean_fraction: float = Field(
        gt=0, le=1, description="share of the clean training images that are trusted"
    )

    def training_images(self, images: int) -> int:
        """Return how many of a dataset's training images are trusted."""
        return count_of(self.clean_fraction, images)


class SSLOptions(TrainingOptions):
    """Base of the options of an SSL method."""

    backbone: BackboneOptions = Field(
        BackboneOptions(), description="which network maps an image to its features"
    )
    mean: RGB = Field(IMAGENET_MEAN, description="subtracted from red, green, blue in [0, 1]")
    std: Std = Field(IMAGENET_STD, description="what red, green, blue are then divided by")
    norm_groups: int = Field(
        1, ge=1, description="parts of a batch that batch norm sees apart, as on so many GPUs"
    )
    devices: Annotated[int, ExcludeFromKey()] = Field(
        1,
        ge=1,
        description="processes that train the encoder together, one a GPU; each takes its share "
        "of every batch, and of its norm_groups",
    )

    def problems(self, data: DatasetMetadata) -> Iterable[str]:
        """Yield why these options cannot work on a dataset."""
        yield from super().problems(data)
        side, least = self.view_side(data.size), self._least_side()
        if side < least:
            yield (
                f"{self.backbone.name} with these strides needs views of at least {least} "
                f"pixels, not {side}"
            )

    def training_problems(self, images: int) -> Iterator[str]:
        """Yield why the loop cannot work on so many images."""
        yield from super().training_problems(images)
        if self.batch_size % self.norm_groups or self.batch_size < 2 * self.norm_groups:
            yield (
                f"norm_groups = {self.norm_groups} does not divide batch_size = "
                f"{self.batch_size} into groups of at least 2: change one of them"
            )
        if self.norm_groups % self.devices:
            yield (
                f"norm_groups = {self.norm_groups} is not a multiple of devices = {self.devices}: "
                "batch norm treats each device's images separately; set norm_groups to a "
                f"multiple of {self.devices}"
            )

    def _least_side(self) -> int:
        if self.backbone.name == "tiny-resnet":
            return self.backbone.stem_stride * math.prod(self.backbone.strides)
        if self.backbone.plugin is not None:
            return 1  # it is built and tried
        return 32 if self.backbone.stem == "imagenet" else 4


class TwoViewOptions(SSLOptions, ViewTrainingOptions):
    """Base of the options of an SSL method that compares two random views of each image."""


def image_side(size: tuple[int, int] | None, wanted: int | None) -> int:
    """Return at which side in pixels the images of a dataset, with its ``size``, are seen.

    It is ``wanted`` if given, else the shorter side of uniform images, else 224.
    """
    if wanted is not None:
        return wanted
    return LARGE_SIDE if size is None else min(size)
