"""Options of BadEncoder; the defaults are the published values. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from backbench.plugin import DatasetMetadata, ExcludeDefaultFromKey, Field, Options, ViewOptions
from backbench_attacks.target import images_of, target_problem


class BadEncoderOptions(Options):
    """Options of BadEncoder."""

    target: str = Field(description="class that the trigger stands for")
    width: int = Field(10, ge=1, description="side of the white square, in pixels")
    margin: int = Field(
        1, ge=0, description="pixels between the square and the right and lower edges"
    )
    shadow_fraction: float = Field(
        1.0, gt=0, le=1, description="share of the training images that the attacker has"
    )
    references: int = Field(1, ge=1, description="images of the target class that the attacker has")
    epochs: int = Field(200, ge=1, description="passes over the attacker's images")
    batch_size: int = Field(256, ge=2, description="images a step")
    lr: float = Field(1e-3, gt=0, description="learning rate of SGD")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(5e-4, ge=0, description="L2 penalty added to the gradient")
    reference_weight: float = Field(
        1.0, ge=0, description="λ₁: weight of keeping the features of the references"
    )
    clean_weight: float = Field(
        1.0, ge=0, description="λ₂: weight of keeping the features of clean images"
    )
    preserve: Annotated[bool, ExcludeDefaultFromKey()] = Field(
        default=False,
        description="keep the features of triggered images among those of clean images (DRUPE)",
    )
    projections: Annotated[int, ExcludeDefaultFromKey()] = Field(
        50, ge=1, description="directions of the distance of features, with preserve"
    )
    views: ViewOptions = Field(
        ViewOptions(blur=0.0), description="the random views of the references"
    )

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Yield why the attack cannot work on a dataset: its target, its size, its images."""
        if problem := target_problem(self.target, data.classes):
            yield problem
        else:
            known = images_of(self.target, data)
            if self.references > known:
                yield f"references: {self.references} are more than the {known} of the target class"
        if data.size is not None and self.width + self.margin > min(data.size):
            yield (
                f"width + margin = {self.width + self.margin} is more than an image of "
                f"{data.size[1]} x {data.size[0]} pixels has; make width smaller"
            )
