"""The learning rate of every step."""

from __future__ import annotations

import math

from backbench.options.training import TrainingOptions


def learning_rate(options: TrainingOptions, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step, counted from 0 over the whole training.

    Source: published code, moco/main_moco.py (cosine, an epoch at a time), byol/train.py (rising
        over the first steps), jigsaw/train_jigsaw.py and the configurations of rotnet (steps).
    Differs: a cosine with a warm-up begins where the warm-up ends.
    """
    schedule, base = options.schedule, options.optimizer.lr
    warmup = schedule.warmup_steps + schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        return base * (step + 1) / warmup
    epoch = step // steps_per_epoch
    if schedule.name == "step":
        return base * schedule.gamma ** sum(epoch >= m for m in schedule.milestones)
    if schedule.name == "constant":
        return base
    position = step if schedule.per == "step" else epoch * steps_per_epoch
    total = options.epochs * steps_per_epoch - warmup
    return base * (1 + math.cos(math.pi * max(position - warmup, 0) / total)) / 2
