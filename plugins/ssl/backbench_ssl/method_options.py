"""Options of the methods; the defaults are the published values. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import model_validator

from backbench.plugin import (
    DatasetMetadata,
    Field,
    OptimizerOptions,
    ScheduleOptions,
    SSLOptions,
    TwoViewOptions,
    ViewOptions,
    ViewTrainingOptions,
)


class MoCoOptions(TwoViewOptions):
    """Options of MoCo v2."""

    optimizer: OptimizerOptions = Field(
        OptimizerOptions(lr=0.06), description="how the weights are updated"
    )
    dim: int = Field(128, ge=2, description="width of the embedding")
    hidden: int | None = Field(
        None, ge=1, description="width of the head's hidden layer; the backbone's by default"
    )
    queue: int = Field(
        65_536, ge=1, le=2**24, description="number of negatives, a multiple of batch_size"
    )
    momentum: float = Field(0.999, ge=0, le=1, description="of the key encoder's average")
    temperature: float = Field(0.2, gt=0, description="divides the similarities")
    contrast_weight: float = Field(1.0, ge=0, description="weight of the contrastive loss")
    align_weight: float = Field(
        0.0, ge=0, description="weight of the loss that draws an image's two views together"
    )
    align_alpha: float = Field(2.0, ge=1, description="power of their distance in that loss")
    uniform_weight: float = Field(
        0.0, ge=0, description="weight of the loss that spreads queries over the sphere"
    )
    uniform_t: float = Field(3.0, gt=0, description="sharpness of that loss")
    uniform_intra_batch: bool = Field(
        default=True, description="spread queries away from each other too, not only from the queue"
    )
    norm_groups: int = Field(
        2,
        ge=1,
        description="parts of a batch that batch norm sees apart, as on so many GPUs; keys "
        "are shuffled between them",
    )

    @model_validator(mode="after")
    def _some_loss(self) -> Self:
        if not self.contrast_weight + self.align_weight + self.uniform_weight:
            raise ValueError("contrast_weight, align_weight and uniform_weight are all 0")
        return self

    def problems(self, data: DatasetMetadata) -> Iterable[str]:
        """Yield why these options cannot work on a dataset."""
        yield from super().problems(data)
        if self.queue % self.batch_size:
            fitting = max(1, self.queue // self.batch_size) * self.batch_size
            yield (
                f"queue = {self.queue} is not a multiple of batch_size = {self.batch_size}: "
                f"set it to {fitting}"
            )


class BYOLOptions(TwoViewOptions):
    """Options of BYOL."""

    batch_size: int = Field(512, ge=2, description="images a step")
    optimizer: OptimizerOptions = Field(
        OptimizerOptions(name="adam", lr=2e-3, weight_decay=1e-6),
        description="how the weights are updated",
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(name="step", milestones=(150, 175), gamma=0.2, warmup_steps=500),
        description="how the learning rate changes",
    )
    views: ViewOptions = Field(
        ViewOptions(interpolation="bicubic", grayscale=0.1), description="the two views of an image"
    )
    dim: int = Field(128, ge=2, description="width of the embedding")
    hidden: int = Field(1024, ge=1, description="width of the heads' hidden layers")
    momentum: float = Field(
        0.99, ge=0, le=1, description="of the target's average in the first epoch; it rises to 1"
    )
    norm_groups: int = Field(
        4,
        ge=1,
        description="parts of a batch that the encoder's batch norms see apart, as on so many "
        "GPUs; the heads' see the whole batch",
    )


class SimCLROptions(TwoViewOptions):
    """Options of SimCLR."""

    batch_size: int = Field(512, ge=2, description="images a step")
    optimizer: OptimizerOptions = Field(
        OptimizerOptions(lr=0.6, weight_decay=1e-6, decay="weights"),
        description="how the weights are updated",
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(per="step", warmup_epochs=10), description="how the learning rate changes"
    )
    views: ViewOptions = Field(
        ViewOptions(scale=(0.08, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2),
        description="the two views of an image",
    )
    dim: int = Field(128, ge=2, description="width of the embedding")
    hidden: int | None = Field(
        None, ge=1, description="width of the head's hidden layer; the backbone's by default"
    )
    temperature: float = Field(0.1, gt=0, description="divides the similarities")


class SimSiamOptions(TwoViewOptions):
    """Options of SimSiam."""

    epochs: int = Field(
        100,
        ge=0,
        description="passes over the training images; 0 leaves the random weights of the start",
    )
    batch_size: int = Field(512, ge=2, description="images a step")
    optimizer: OptimizerOptions = Field(
        OptimizerOptions(lr=0.1), description="how the weights are updated"
    )
    dim: int = Field(2048, ge=2, description="width of the projection and the prediction")
    layers: int = Field(3, ge=1, description="linear layers of the projection")
    hidden: int = Field(512, ge=1, description="width of the predictor's hidden layer")


class PretextOptions(SSLOptions):
    """Options that Jigsaw and RotNet share."""

    epochs: int = Field(
        105, ge=0, description="passes over the training images; 0 leaves the random start"
    )
    last_batch: Literal["drop", "keep"] = Field(
        "keep", description="what becomes of an epoch's last batch where it is not full"
    )


class JigsawOptions(PretextOptions):
    """Options of Jigsaw."""

    optimizer: OptimizerOptions = Field(
        OptimizerOptions(lr=0.01, decay="not-bn-or-bias"), description="how the weights are updated"
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(name="step", milestones=(30, 60, 90, 100)),
        description="how the learning rate changes",
    )
    resize: int = Field(
        256, ge=0, description="short side that an image is resized to; 0: left as it is"
    )
    cell: int = Field(85, ge=2, description="side of a cell of the 3×3 grid, in pixels")
    tile: int = Field(64, ge=2, description="side of the tile cut out of a cell, in pixels")
    jitter: int = Field(
        20, ge=0, description="largest offset of a tile from its cell's top-left corner"
    )
    permutations: int = Field(2000, ge=2, le=100_000, description="number of permutations")
    grayscale: float = Field(0.5, ge=0, le=1, description="probability of a gray image")
    projection: float = Field(
        0.5, ge=0, le=1, description="probability that a colored image is projected on two colors"
    )

    @model_validator(mode="after")
    def _tile_in_cell(self) -> Self:
        if self.tile + self.jitter > self.cell:
            raise ValueError(
                f"tile + jitter = {self.tile + self.jitter} is more than cell = {self.cell}"
            )
        if self.resize and self.resize < 3 * self.cell:
            raise ValueError(f"resize = {self.resize} is less than 3 × cell = {3 * self.cell}")
        return self

    def problems(self, data: DatasetMetadata) -> Iterable[str]:
        """Yield why these options cannot work on a dataset."""
        yield from self.training_problems(data.train)
        if self.tile < self._least_side():
            yield (
                f"{self.backbone.name} with these strides needs tiles of at least "
                f"{self._least_side()} pixels, not {self.tile}"
            )
        if not self.resize:
            if data.size is None:
                yield "resize must be given where images differ in size"
            elif min(data.size) < 3 * self.cell:
                yield f"cell = {self.cell}: three do not fit an image of {min(data.size)} pixels"


class RotNetOptions(PretextOptions, ViewTrainingOptions):
    """Options of RotNet."""

    batch_size: int = Field(128, ge=2, description="images a step; each is seen in four rotations")
    optimizer: OptimizerOptions = Field(
        OptimizerOptions(lr=0.05), description="how the weights are updated"
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(name="step", milestones=(30, 60, 90)),
        description="how the learning rate changes",
    )
    views: ViewOptions = Field(
        ViewOptions(scale=(0.08, 1.0), jitter=0.0, grayscale=0.0, blur=0.0),
        description="the view of an image that is then rotated",
    )
