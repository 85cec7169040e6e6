"""Options of CTRL; the defaults are the published values. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import model_validator

from backbench.plugin import DatasetMetadata, Field, JPEGOptions
from backbench_attacks.rate import Rate
from backbench_attacks.target import images_of, target_problem

Coefficient = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class CTRLOptions(JPEGOptions):
    """Options of CTRL."""

    target: str = Field(description="class that the trigger stands for")
    rate: Rate = Field(
        Rate(of="dataset", value=0.01), description="how many images of the class are poisoned"
    )
    magnitude: float = Field(100.0, gt=0, description="added to each coefficient, in levels of 255")
    window: int = Field(32, ge=2, description="side of a block of the cosine transform, in pixels")
    coefficients: tuple[Coefficient, ...] = Field(
        ((15, 15), (31, 31)), min_length=1, description="row and column of those that are raised"
    )

    @model_validator(mode="after")
    def _inside(self) -> Self:
        for row, column in self.coefficients:
            if max(row, column) >= self.window:
                raise ValueError(
                    f"coefficients: [{row}, {column}] is outside a window of {self.window}"
                )
        return self

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Yield why the attack cannot work on a dataset: its target, its rate, its size."""
        problem = target_problem(self.target, data.classes)
        if problem := problem or self.rate.problem(images_of(self.target, data), data.train):
            yield problem
        if data.size is not None and min(data.size) < self.window:
            yield (
                f"window = {self.window} is more than an image of {data.size[1]} x {data.size[0]} "
                "pixels has: make it smaller, and the coefficients with it"
            )
