"""Options of DECREE; the defaults are the published values for images of 224 pixels. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import model_validator

from backbench.plugin import DatasetMetadata, Field, Options, count_of


class DecreeOptions(Options):
    """Options of DECREE."""

    clean_fraction: float = Field(
        0.2, gt=0, le=1, description="share of the clean training images that are trusted"
    )
    batch_size: int = Field(128, ge=2, description="images a step")
    epochs: int = Field(1000, ge=1, description="most passes over the trusted images")
    stop_after: int = Field(
        100, ge=1, description="passes without a smaller mask after which the search ends"
    )
    lr: tuple[float, float, float] = Field(
        (0.5, 0.1, 0.05), description="learning rates of Adam, one after the other"
    )
    milestones: tuple[int, int] = Field(
        (200, 500), description="passes after which the second and the third rate begin"
    )
    betas: tuple[float, float] = Field((0.5, 0.9), description="momenta of Adam")
    weight: float = Field(1e-3, gt=0, description="λ: weight of the mask's L1 norm at the start")
    factor: float = Field(5.0, gt=1, description="what λ is multiplied or divided by")
    patience: int = Field(
        5, ge=1, description="passes in a row above or below `similarity` that change λ"
    )
    least_weight: float = Field(1e-7, gt=0, description="λ never falls below")
    similarity: float = Field(
        0.99, gt=0, lt=1, description="mean cosine above which the trigger works"
    )
    threshold: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="an encoder is accused if the mask's L1 norm is a smaller share of the image",
    )

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.milestones[0] > self.milestones[1]:
            raise ValueError(f"milestones = {list(self.milestones)}: they must not fall")
        if not all(rate > 0 for rate in self.lr):
            raise ValueError(f"lr = {list(self.lr)}: learning rates are above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas = {list(self.betas)}: momenta lie in [0, 1)")
        return self

    def problems(self, data: DatasetMetadata) -> Iterable[str]:
        """Yield why these options cannot work on a dataset."""
        if count_of(self.clean_fraction, data.train) < 2:
            yield (
                f"clean_fraction = {self.clean_fraction} of {data.train} training images is fewer "
                "than two: make it larger"
            )
