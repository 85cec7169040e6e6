"""Options of the four methods, and what they are on small pictures. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Self

from pydantic import model_validator

from backbench.plugin import DatasetFacts, Field
from backbench.training_options import (
    OptimiserOptions,
    ScheduleOptions,
    SSLOptions,
    ViewOptions,
)


class MoCoOptions(SSLOptions):
    """Options of MoCo v2."""

    optimiser: OptimiserOptions = Field(
        OptimiserOptions(lr=0.06), description="how the weights are updated"
    )
    views: ViewOptions = Field(ViewOptions(), description="the two views of a picture")
    dim: int = Field(128, ge=2, description="width of the embedding")
    hidden: int | None = Field(
        None, ge=1, description="width of the head's hidden layer; the backbone's by default"
    )
    queue: int = Field(65_536, ge=1, description="number of negatives, a multiple of batch_size")
    momentum: float = Field(0.999, ge=0, le=1, description="of the key encoder's average")
    temperature: float = Field(0.2, gt=0, description="divides the similarities")
    norm_groups: int = Field(
        2,
        ge=1,
        description="parts of a batch that batch norm sees apart, as on so many GPUs; keys "
        "are shuffled between them",
    )

    def faults(self, data: DatasetFacts) -> Iterable[str]:
        """Say why these options cannot work on a data set."""
        yield from super().faults(data)
        if self.queue % self.batch_size:
            yield f"queue = {self.queue} is not a multiple of batch_size = {self.batch_size}"
        if self.batch_size % self.norm_groups or self.batch_size < 2 * self.norm_groups:
            yield (
                f"norm_groups = {self.norm_groups} does not divide batch_size = "
                f"{self.batch_size} into groups of at least 2"
            )


class BYOLOptions(SSLOptions):
    """Options of BYOL."""

    batch_size: int = Field(512, ge=2, description="pictures a step")
    optimiser: OptimiserOptions = Field(
        OptimiserOptions(name="adam", lr=2e-3, weight_decay=1e-6),
        description="how the weights are updated",
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(name="step", milestones=(150, 175), gamma=0.2, warmup_steps=500),
        description="how the learning rate changes",
    )
    views: ViewOptions = Field(
        ViewOptions(interpolation="bicubic", grey=0.1), description="the two views of a picture"
    )
    dim: int = Field(128, ge=2, description="width of the embedding")
    hidden: int = Field(1024, ge=1, description="width of the heads' hidden layers")
    momentum: float = Field(
        0.99, ge=0, le=1, description="of the target's average in the first epoch; it rises to 1"
    )


class JigsawOptions(SSLOptions):
    """Options of Jigsaw."""

    epochs: int = Field(
        105,
        ge=0,
        description="passes over the training pictures; 0 leaves the random weights of the start",
    )
    optimiser: OptimiserOptions = Field(
        OptimiserOptions(lr=0.01, decay="weights"), description="how the weights are updated"
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(name="step", milestones=(30, 60, 90, 100)),
        description="how the learning rate changes",
    )
    resize: int | None = Field(
        256, ge=6, description="short side that a picture is resized to; none: as it is"
    )
    cell: int = Field(85, ge=2, description="side of a cell of the 3×3 grid, in pixels")
    tile: int = Field(64, ge=2, description="side of the tile cut out of a cell, in pixels")
    jitter: int = Field(
        20, ge=0, description="largest offset of a tile from its cell's top-left corner"
    )
    permutations: int = Field(2000, ge=2, le=100_000, description="number of permutations")
    grey: float = Field(0.5, ge=0, le=1, description="probability of a grey picture")
    projection: float = Field(
        0.5,
        ge=0,
        le=1,
        description="probability that a picture that stays coloured is projected on two colours",
    )

    @model_validator(mode="after")
    def _tile_in_cell(self) -> Self:
        if self.tile + self.jitter > self.cell:
            raise ValueError(
                f"tile + jitter = {self.tile + self.jitter} is more than cell = {self.cell}"
            )
        if self.resize is not None and self.resize < 3 * self.cell:
            raise ValueError(f"resize = {self.resize} is less than 3 × cell = {3 * self.cell}")
        return self

    def faults(self, data: DatasetFacts) -> Iterable[str]:
        """Say why these options cannot work on a data set."""
        yield from self.training_faults(data.train)
        if self.tile < self._least_side():
            yield (
                f"{self.backbone.name} with these strides needs tiles of at least "
                f"{self._least_side()} pixels, not {self.tile}"
            )
        if self.resize is None:
            if data.size is None:
                yield "resize must be given where pictures differ in size"
            elif min(data.size) < 3 * self.cell:
                yield f"cell = {self.cell}: three do not fit a picture of {min(data.size)} pixels"


class RotNetOptions(SSLOptions):
    """Options of RotNet."""

    epochs: int = Field(
        105,
        ge=0,
        description="passes over the training pictures; 0 leaves the random weights of the start",
    )
    batch_size: int = Field(
        128, ge=2, description="pictures a step; each is seen in four rotations"
    )
    optimiser: OptimiserOptions = Field(
        OptimiserOptions(lr=0.05), description="how the weights are updated"
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(name="step", milestones=(30, 60, 90)),
        description="how the learning rate changes",
    )
    views: ViewOptions = Field(
        ViewOptions(scale=(0.08, 1.0), jitter=0.0, grey=0.0, blur=0.0),
        description="the view of a picture that is then rotated",
    )


_SMALL: Final[dict[str, Any]] = {
    "backbone": {"name": "tiny-resnet", "widths": (32, 64), "strides": (2, 2)},
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
    "batch_size": 128,
}
_SMALL_SCHEDULE: Final = {"name": "cosine", "per": "step", "milestones": (), "warmup_steps": 0}
_SMALL_VIEWS: Final = {"interpolation": "bilinear", "blur": 0.0, "colour": "linear"}

#: Numbers for pictures of about 32 pixels, found on the embedded data set.
SMALL: Final[dict[str, dict[str, Any]]] = {
    "moco-v2": {
        **_SMALL,
        "epochs": 80,
        "optimiser": {"lr": 0.12, "decay": "weights"},
        "schedule": {**_SMALL_SCHEDULE, "warmup_epochs": 2},
        "views": {**_SMALL_VIEWS, "grey": 0.1},
        "dim": 64,
        "hidden": 128,
        "queue": 1024,
        "momentum": 0.99,
        "norm_groups": 1,
    },
    "byol": {
        **_SMALL,
        "batch_size": 256,
        "epochs": 85,
        "optimiser": {"lr": 6e-3, "decay": "weights"},
        "schedule": {**_SMALL_SCHEDULE, "warmup_epochs": 5},
        "views": {**_SMALL_VIEWS, "grey": 0.1, "scale": (0.3, 1.0), "jitter": 0.6},
        "dim": 64,
        "hidden": 256,
        "momentum": 0.97,
    },
    "jigsaw": {
        **_SMALL,
        "epochs": 50,
        "optimiser": {"lr": 0.1},
        "schedule": {**_SMALL_SCHEDULE, "warmup_epochs": 2},
        "resize": None,
        "cell": 10,
        "tile": 8,
        "jitter": 2,
        "permutations": 64,
        "grey": 0.3,
        "projection": 0.0,
    },
    "rotnet": {
        **_SMALL,
        "batch_size": 64,
        "epochs": 24,
        "optimiser": {"lr": 0.05, "decay": "weights"},
        "schedule": {**_SMALL_SCHEDULE, "warmup_epochs": 1},
        "views": {**_SMALL_VIEWS, "scale": (0.3, 1.0)},
    },
}
