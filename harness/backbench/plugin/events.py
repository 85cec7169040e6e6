"""What happens during a run: one frozen object an event, handed to observers' hooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backbench.model import Stage


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run is about to execute its stages.

    Args:
        benchmark: Its name.
        stages: The stages to execute, in the plan's order.
        cached: Number of stages that are in the store.
        slots: Number of stages that run at a time.
    """

    benchmark: str
    stages: tuple[Stage, ...]
    cached: int
    slots: int


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A worker has begun a stage."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class StageProgress:
    """A stage reports how far it is.

    Args:
        stage: Which stage.
        done: Units done.
        total: Units in all.
        values: What is worth watching: loss, learning rate, feature spread, k-NN accuracy.
    """

    stage: Stage
    done: int
    total: int
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageFinished:
    """A stage's artifact and record are in the store."""

    stage: Stage
    wall_s: float


@dataclass(frozen=True, slots=True)
class StageFailed:
    """A stage failed; what depends on it will not run.

    Args:
        stage: Which stage.
        reason: One sentence.
        details: The traceback, where there is one.
    """

    stage: Stage
    reason: str
    details: str = ""


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run is over."""

    executed: int
    failed: int
    skipped: int
    wall_s: float
    interrupted: bool = False
