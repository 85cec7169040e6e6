"""Options of the defenses. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from backbench.plugin import DatasetFacts, Field
from backbench.training_options import (
    OptimiserOptions,
    ScheduleOptions,
    TrainingOptions,
    ViewOptions,
)


class DistillOptions(TrainingOptions):
    """Options of the distillation defense."""

    clean_fraction: float = Field(
        0.25, gt=0, le=1, description="share of the clean training pictures that are trusted"
    )
    epochs: int = Field(130, ge=1, description="passes over the clean pictures")
    optimiser: OptimiserOptions = Field(
        OptimiserOptions(lr=0.01), description="how the weights are updated"
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(name="step", milestones=(90, 120), gamma=0.2),
        description="how the learning rate changes",
    )
    views: ViewOptions = Field(
        ViewOptions(jitter=0.0, grey=0.0, blur=0.0),
        description="the view that teacher and student see; its size is the encoder's",
    )
    queue: int = Field(
        128_000,
        ge=2,
        description="number of anchors; at most as many as there are clean pictures, in whole "
        "batches",
    )
    momentum: float = Field(0.999, ge=0, le=1, description="of the student's average")
    temperature: float = Field(0.04, gt=0, description="divides the similarities")

    def faults(self, data: DatasetFacts) -> Iterable[str]:
        """Say why these options cannot work on a data set."""
        yield from self.training_faults(int(self.clean_fraction * data.train))


#: Numbers for pictures of about 32 pixels, found on the embedded data set.
SMALL: Final[dict[str, Any]] = {
    "epochs": 100,
    "batch_size": 64,
    "optimiser": {"lr": 0.05, "decay": "weights"},
    "schedule": {"name": "cosine", "per": "step", "milestones": (), "warmup_epochs": 2},
    "views": {"scale": (0.75, 1.0)},
    "queue": 256,
    "momentum": 0.99,
}
