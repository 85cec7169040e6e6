"""Options of the defenses; the defaults are the published values. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

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
    last_batch: Literal["drop", "keep"] = Field(
        "keep", description="what becomes of an epoch's last batch where it is not full"
    )
    optimiser: OptimiserOptions = Field(
        OptimiserOptions(lr=0.01), description="how the weights are updated"
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(name="step", milestones=(90, 120), gamma=0.2),
        description="how the learning rate changes",
    )
    views: ViewOptions = Field(
        ViewOptions(scale=(0.08, 1.0), jitter=0.0, grey=0.0, blur=0.0),
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
