"""Options of SSL-Cleanse; the defaults are the published values where they are known. No torch."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import (
    CleanTrainingOptions,
    DatasetMetadata,
    Field,
    OptimizerOptions,
    ScheduleOptions,
    ViewTrainingOptions,
    count_of,
)


class CleanseOptions(CleanTrainingOptions, ViewTrainingOptions):
    """Options of SSL-Cleanse: the search for a trigger of each cluster, and the fine-tuning."""

    clean_fraction: float = Field(
        0.01, gt=0, le=1, description="share of the clean training images that are trusted"
    )
    most_clusters: int = Field(20, ge=4, description="largest number of clusters that is tried")
    window: int = Field(
        3, ge=1, description="numbers of clusters over which their error is averaged"
    )
    inversion_epochs: int = Field(
        100, ge=1, description="passes over the trusted images for the trigger of a cluster"
    )
    inversion_lr: float = Field(0.1, gt=0, description="learning rate of Adam for a trigger")
    weight: float = Field(0.1, gt=0, description="λ: weight of a trigger's size at the start")
    factor: float = Field(1.5, gt=1, description="what λ is multiplied or divided by")
    patience: int = Field(
        5, ge=1, description="batches in a row with or without success that change λ"
    )
    success: float = Field(
        0.99,
        gt=0,
        le=1,
        description="share of the triggered images whose nearest image is of the cluster",
    )
    threshold: float = Field(
        2.0, gt=0, description="an encoder is accused above this anomaly index of a small trigger"
    )
    triggers: int = Field(
        1, ge=1, description="number of triggers, the smallest first, that are trained away"
    )
    triggered_weight: float = Field(
        1.0, gt=0, description="α₁: weight of drawing triggered views to clean views"
    )
    clean_weight: float = Field(
        1.0, ge=0, description="α₄: weight of keeping the features of clean views"
    )
    epochs: int = Field(50, ge=1, description="passes of the fine-tuning over the trusted images")
    optimizer: OptimizerOptions = Field(
        OptimizerOptions(lr=0.01), description="how the weights are updated"
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(name="cosine", milestones=(), warmup_epochs=0),
        description="how the learning rate changes",
    )

    def problems(self, data: DatasetMetadata) -> Iterable[str]:
        """Yield why these options cannot work on a dataset."""
        yield from super().problems(data)
        images = count_of(self.clean_fraction, data.train)
        if images < 2 * self.most_clusters:
            yield (
                f"clean_fraction = {self.clean_fraction} of {data.train} training images is fewer "
                f"than two for each of {self.most_clusters} clusters: make it larger, or "
                "most_clusters smaller"
            )
