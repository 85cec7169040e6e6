"""Options of the defenses; the defaults are the published values. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, Self

from pydantic import model_validator

from backbench.plugin import (
    BackboneOptions,
    CleanTrainingOptions,
    DatasetMetadata,
    Field,
    GuardOptions,
    OptimizerOptions,
    Options,
    ScheduleOptions,
    SSLOptions,
    TwoViewOptions,
    ViewOptions,
    ViewTrainingOptions,
)


class DistillOptions(CleanTrainingOptions, ViewTrainingOptions):
    """Options of the distillation defense."""

    clean_fraction: float = Field(
        0.25, gt=0, le=1, description="share of the clean training images that are trusted"
    )
    epochs: int = Field(130, ge=1, description="passes over the clean images")
    last_batch: Literal["drop", "keep"] = Field(
        "keep", description="what becomes of an epoch's last batch where it is not full"
    )
    optimizer: OptimizerOptions = Field(
        OptimizerOptions(lr=0.01), description="how the weights are updated"
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(name="step", milestones=(90, 120), gamma=0.2),
        description="how the learning rate changes",
    )
    views: ViewOptions = Field(
        ViewOptions(scale=(0.08, 1.0), jitter=0.0, grayscale=0.0, blur=0.0),
        description="the view that teacher and student see; its size is the encoder's",
    )
    queue: int = Field(
        128_000, ge=2, description="number of anchors; at most the clean images, in whole batches"
    )
    momentum: float = Field(0.999, ge=0, le=1, description="of the student's average")
    temperature: float = Field(0.04, gt=0, description="divides the similarities")


class FinePruneOptions(CleanTrainingOptions, ViewTrainingOptions):
    """Options of fine-pruning."""

    share: float = Field(0.5, ge=0, lt=1, description="share of the channels that is pruned")
    clean_fraction: float = Field(
        0.25, gt=0, le=1, description="share of the clean training images that are trusted"
    )
    epochs: int = Field(20, ge=0, description="passes over the clean images; 0: only pruned")
    optimizer: OptimizerOptions = Field(
        OptimizerOptions(lr=0.01), description="how the weights are updated"
    )
    views: ViewOptions = Field(
        ViewOptions(jitter=0.0, grayscale=0.0, blur=0.0),
        description="the view that is trained on; its size is the encoder's",
    )


class _TwoViewGuardOptions(GuardOptions):
    """Base of the options of defenses that change the two views of a method."""

    def method_problems(self, method: SSLOptions) -> Iterator[str]:
        """Yield why the defense cannot wrap a method with these options."""
        if not isinstance(method, TwoViewOptions):
            yield "the method does not compare two views of an image: exclude these cells"


class CutMixOptions(_TwoViewGuardOptions):
    """Options of i-CutMix."""

    alpha: float = Field(
        1.0, gt=0, description="α: the share that a view keeps is drawn from Beta(α, α)"
    )

    def method_problems(self, method: SSLOptions) -> Iterator[str]:
        """Yield why the defense cannot wrap a method with these options."""
        yield from super().method_problems(method)
        if method.devices > 1:
            yield (
                f"devices = {method.devices}: an image and its partner are in one process: set "
                "devices to 1"
            )


class LocalizedCroppingOptions(_TwoViewGuardOptions):
    """Options of localized cropping."""

    delta: float = Field(
        0.2, ge=0, description="δ: share of its sides by which the first crop is enlarged"
    )


class PatchSearchOptions(Options):
    """Options of the patch search."""

    clusters: int = Field(1000, ge=2, description="number of clusters of k-means")
    iterations: int = Field(20, ge=1, description="rounds of k-means")
    test_images: int = Field(
        1000, ge=1, description="images nearest their centers, on which patches are tried"
    )
    per_cluster: int = Field(2, ge=1, description="images of each cluster searched in a round")
    prune: float = Field(
        0.25, gt=0, lt=1, description="share of the clusters that is dropped after a round"
    )
    window: int = Field(60, ge=2, description="side of the patch that is cut out, in pixels")
    window_by: Literal["cam", "occlusion"] = Field(
        "cam",
        description="the patch is the window with the most Grad-CAM, or that without which the "
        "image is least like its cluster, for any encoder",
    )
    top: int = Field(20, ge=1, description="patches that the classifiers learn from")
    classifiers: int = Field(
        5, ge=0, description="number of classifiers; 0: the top images of the search are dropped"
    )
    backbone: BackboneOptions = Field(
        BackboneOptions(
            name="tiny-resnet",
            widths=(64, 128, 256, 512),
            strides=(1, 2, 2, 2),
            stem_width=64,
            stem_kernel=7,
            stem_stride=2,
        ),
        description="network of a classifier",
    )
    steps: int = Field(2000, ge=1, description="most steps of a classifier's training")
    batch_size: int = Field(
        32, ge=2, description="images a step, and as many with a patch pasted on"
    )
    lr: float = Field(0.01, gt=0, description="learning rate at the start; it falls as a cosine")
    patch_sizes: tuple[int, int] = Field(
        (20, 80), description="least and largest side of a pasted patch, in pixels"
    )
    leave_out: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the training set, the most suspicious of the search first, that "
        "classifiers do not learn from",
    )

    @model_validator(mode="after")
    def _range(self) -> Self:
        low, high = self.patch_sizes
        if not 2 <= low <= high:
            raise ValueError(f"patch_sizes = [{low}, {high}] is not a range of at least 2 pixels")
        return self

    def problems(self, data: DatasetMetadata) -> Iterable[str]:
        """Yield why these options cannot work on a dataset."""
        if self.clusters > data.train:
            yield f"clusters = {self.clusters} is more than the {data.train} training images"
        if data.size is not None and self.window > min(data.size):
            yield f"window = {self.window} is larger than the images of {min(data.size)} pixels"
        if data.size is not None and self.patch_sizes[1] > min(data.size):
            yield (
                f"patch_sizes: {self.patch_sizes[1]} is larger than the images of "
                f"{min(data.size)} pixels"
            )
