"""Options of BLTO; what the paper does not give is stated. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from backbench.plugin import (
    DatasetMetadata,
    ExcludeFromKey,
    Field,
    OptimizerOptions,
    Options,
    SSLOptions,
    ViewTrainingOptions,
)
from backbench_attacks.rate import Rate
from backbench_attacks.target import images_of, target_problem


class SurrogateOptions(SSLOptions, ViewTrainingOptions):
    """The surrogate, an encoder that SimSiam trains on the attacker's images."""

    epochs: int = Field(100, ge=1, description="passes over the attacker's images, each restart")
    batch_size: int = Field(512, ge=2, description="images a step")
    optimizer: OptimizerOptions = Field(
        OptimizerOptions(lr=0.1), description="how the weights are updated"
    )
    dim: int = Field(2048, ge=2, description="width of the projection and the prediction")
    hidden: int = Field(512, ge=1, description="width of the predictor's hidden layer")
    devices: Annotated[int, ExcludeFromKey()] = Field(
        1, ge=1, le=1, description="the surrogate is trained by one process"
    )


class BLTOOptions(Options):
    """Options of BLTO."""

    target: str = Field(description="class that the trigger stands for")
    rate: Rate = Field(
        Rate(of="dataset", value=0.01), description="how many images of the class are poisoned"
    )
    epsilon: float = Field(
        8.0, ge=1, le=255, description="largest change of a pixel's color, in levels of 255"
    )
    width: int = Field(32, ge=4, description="channels of the trigger network's first layer")
    shadow_fraction: float = Field(
        1.0, gt=0, le=1, description="share of the training images that the attacker has"
    )
    restarts: int = Field(
        3, ge=1, description="how often the surrogate is trained anew; not published"
    )
    steps: int = Field(
        100,
        ge=1,
        description="steps of the trigger network after each epoch of the surrogate; not published",
    )
    batch_size: int = Field(64, ge=1, description="images a step of the trigger network")
    lr: float = Field(1e-3, gt=0, description="learning rate of Adam, for the trigger network")
    surrogate: SurrogateOptions = Field(
        SurrogateOptions(), description="the encoder that stands for the victim's"
    )

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Yield why the attack cannot work on a dataset: its target, its rate, its surrogate."""
        if problem := target_problem(self.target, data.classes):
            yield problem
            return
        try:
            poisons = self.rate.count(images_of(self.target, data), data.train)
        except ValueError as error:
            yield str(error)
            return
        known = replace(data, train=max(1, int(self.shadow_fraction * data.train)) + poisons)
        yield from (f"surrogate.{problem}" for problem in self.surrogate.problems(known))
