"""Options of the optimizer, and of the schedule of its learning rate."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backbench.options.base import ExcludeDefaultFromKey, Options, refuse_unread


class OptimizerOptions(Options):
    """The optimizer, which updates the weights."""

    name: Literal["sgd", "adam", "adamw", "lars"] = Field(
        "sgd",
        description="SGD with momentum; Adam; Adam with decoupled weight decay; or SGD with "
        "momentum whose learning rate adapts to each layer",
    )
    lr: float = Field(0.03, gt=0, description="learning rate, before the schedule")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD and LARS")
    weight_decay: float = Field(
        1e-4,
        ge=0,
        description="L2 penalty added to the gradient (coupled, also for Adam); AdamW subtracts it "
        "from the weights, times the learning rate",
    )
    decay: Literal["all", "weights", "not-bn-or-bias"] = Field(
        "all",
        description="what is decayed: everything; neither biases nor batch norms ('weights'); or "
        "all whose name neither holds 'bn' nor ends in 'bias', as in the published Jigsaw: in "
        "torchvision's ResNets the batch norms of shortcuts are called 'downsample.1'",
    )
    betas: Annotated[
        tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]],
        ExcludeDefaultFromKey(),
    ] = Field(
        (0.9, 0.999),
        description="decay of the averages of the gradient and of its square, of Adam and AdamW",
    )
    nesterov: Annotated[bool, ExcludeDefaultFromKey()] = Field(
        default=False, description="Nesterov's momentum, of SGD"
    )
    trust: Annotated[float, ExcludeDefaultFromKey()] = Field(
        0.001,
        gt=0,
        description="trust coefficient of LARS: length of a layer's step at learning rate 1, as a "
        "share of the length of its weights",
    )

    @model_validator(mode="after")
    def _used(self) -> Self:
        refuse_unread(self, "name", _READERS)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov = true requires momentum > 0")
        return self


#: Optimizers that read an option which others do not.
_READERS = {"betas": ("adam", "adamw"), "nesterov": ("sgd",), "trust": ("lars",)}


class ScheduleOptions(Options):
    """The schedule of the learning rate; epochs are counted from 0."""

    name: Literal["cosine", "step", "constant"] = Field("cosine", description="shape")
    per: Literal["epoch", "step"] = Field(
        "epoch", description="how often a cosine is evaluated: once an epoch, or at each step"
    )
    milestones: tuple[int, ...] = Field(
        (), description="epochs from which on 'step' multiplies the rate by gamma"
    )
    gamma: float = Field(0.1, gt=0, le=1, description="factor of 'step'")
    warmup_steps: int = Field(
        0, ge=0, description="steps over which the rate rises linearly to its value"
    )
    warmup_epochs: int = Field(0, ge=0, description="epochs of the same, added to warmup_steps")

    def warmup(self, steps_per_epoch: int) -> int:
        """Return the number of steps over which the rate rises."""
        return self.warmup_steps + self.warmup_epochs * steps_per_epoch

    def rate(self, base: float, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Return the learning rate of a step, counted from 0 over the whole training.

        Args:
            base: The learning rate before the schedule.
            step: Number of the step.
            steps_per_epoch: Batches in an epoch.
            epochs: Epochs of the training.

        Source: published code, moco/main_moco.py (cosine, an epoch at a time), byol/train.py
            (rising over the first steps), jigsaw/train_jigsaw.py and the configurations of rotnet.
        Differs: a cosine with a warm-up begins where the warm-up ends.
        """
        warmup, epoch = self.warmup(steps_per_epoch), step // steps_per_epoch
        if step < warmup:
            return base * (step + 1) / warmup
        if self.name == "step":
            return base * self.gamma ** sum(epoch >= m for m in self.milestones)
        if self.name == "constant":
            return base
        position = step if self.per == "step" else epoch * steps_per_epoch
        total = epochs * steps_per_epoch - warmup
        return base * (1 + math.cos(math.pi * max(position - warmup, 0) / total)) / 2
