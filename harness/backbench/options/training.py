"""Options of training: settings of backbone, optimizer, schedule and views.

The defaults are the values published for photographs of 224 pixels; each info record of a
built-in method carries a preset ``small`` for images of about 32 pixels. Nothing here needs
torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from backbench.options.backbones import BackboneOptions
from backbench.options.base import DatasetMetadata, ExcludeFromKey, Options, count_of
from backbench.options.optimizer import OptimizerOptions, ScheduleOptions
from backbench.options.views import ViewOptions, image_side

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


RGB = tuple[float, float, float]

#: Least deviation of a color in [0, 1]: 255 levels are 1 / 255 apart.
LEAST_DEVIATION = 1e-6


def _positive(std: RGB) -> RGB:
    if min(std) < LEAST_DEVIATION:
        raise ValueError(f"std: each value must be positive, at least {LEAST_DEVIATION:g}")
    return std


#: Divides red, green, blue.
Std = Annotated[RGB, AfterValidator(_positive)]


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
        """Return the learning rate of a step, counted from 0 over the whole training."""
        return self.schedule.rate(self.optimizer.lr, step, steps_per_epoch, self.epochs)

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
