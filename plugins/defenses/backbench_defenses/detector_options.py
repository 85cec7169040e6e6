"""Options of the detectors of triggered images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import model_validator

from backbench.plugin import DatasetMetadata, Field, Options


class BackdoorIDSOptions(Options):
    """Options of BackdoorIDS."""

    grid: int = Field(
        14, ge=2, description="squares along each side of an image; they are masked in random order"
    )
    steps: int = Field(
        20,
        ge=3,
        description="masks of an image, each larger than the one before, from none",
    )
    most: float = Field(1.0, gt=0, le=1, description="share of the squares in the last mask")
    orders: int = Field(
        1, ge=1, description="random orders of the squares; the most suspicious of them counts"
    )
    neighbors: int = Field(
        2,
        ge=1,
        description="features within the radius of another, itself included, that begin a "
        "cluster: DBSCAN's min_samples",
    )
    radius: float = Field(
        0.2,
        gt=0,
        lt=2,
        description="cosine distance within which features are neighbors: the "
        "eps of DBSCAN; images whose features fall into several clusters at this or a larger "
        "radius are rejected",
    )

    @model_validator(mode="after")
    def _two_clusters(self) -> Self:
        if 2 * self.neighbors > self.steps:
            raise ValueError(
                f"neighbors = {self.neighbors}: {self.steps} steps are too few for two clusters"
            )
        return self


class DeDeOptions(Options):
    """Options of DeDe."""

    clean_fraction: float = Field(
        0.5,
        gt=0,
        le=1,
        description="share of the clean training images that it learns from",
    )
    held_out: float = Field(
        0.1, gt=0, lt=1, description="share of these images that the threshold is taken from"
    )
    reject: float = Field(
        0.05, gt=0, lt=1, description="share of the held-out images above the threshold"
    )
    patch: int = Field(16, ge=1, description="side in pixels of a patch")
    train_mask: float = Field(
        0.9, gt=0, lt=1, description="share of the patches that are masked in training"
    )
    test_mask: float = Field(
        0.99, gt=0, lt=1, description="share of the patches that are masked when images are scored"
    )
    draws: int = Field(
        4, ge=1, description="masks under which each image is scored; the mean error counts"
    )
    width: int = Field(256, ge=8, multiple_of=8, description="width of the decoder's tokens")
    depth: int = Field(4, ge=1, description="layers of the decoder")
    heads: int = Field(8, ge=1, description="attention heads of a layer")
    epochs: int = Field(200, ge=1, description="passes over the images")
    batch_size: int = Field(64, ge=1, description="images at a step")
    lr: float = Field(1e-3, gt=0, description="highest learning rate")
    warmup: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the steps in which the learning rate rises; then it "
        "falls as a cosine",
    )
    weight_decay: float = Field(0.05, ge=0, description="decay of the weights")

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide width = {self.width}")
        return self

    def problems(self, data: DatasetMetadata) -> Iterable[str]:
        """Yield why these options cannot work on a dataset."""
        if data.size is not None and min(data.size) % self.patch:
            yield (
                f"patch = {self.patch} does not divide the side of the images, "
                f"{min(data.size)} pixels"
            )
