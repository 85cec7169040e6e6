"""Events of a run: a frozen object each, which the hooks of observers receive. Do not modify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backbench.model import Cell, Stage


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run is about to execute its stages. Do not modify."""

    benchmark: str
    """Name of the benchmark."""
    stages: tuple[Stage, ...]
    """Stages to execute, in the order of the plan."""
    cached: int
    """Number of stages that are already in the store."""
    slots: int
    """Number of stages that run at a time."""
    notes: tuple[str, ...] = ()
    """Damaged parts of the store that are made again: a sentence each."""
    cells: tuple[Cell, ...] = ()
    """Cells of the matrix; a stage of theirs that is not among ``stages`` is in the store."""
    seen: tuple[tuple[Stage, float], ...] = ()
    """Some stages that are in the store, with the seconds that they took on this processor."""


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A worker has begun a stage. Do not modify."""

    stage: Stage
    """The stage."""


@dataclass(frozen=True, slots=True)
class StageProgress:
    """A stage has reported its progress. Do not modify."""

    stage: Stage
    """The stage."""
    done: int
    """Units done: steps of a training, images of an evaluation."""
    total: int
    """Units in all."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Values to watch, by name: loss, learning rate, feature spread, k-NN accuracy."""


@dataclass(frozen=True, slots=True)
class StageFinished:
    """The artifact and the record of a stage are in the store. Do not modify."""

    stage: Stage
    """The stage."""
    wall_s: float
    """Duration, seconds."""


@dataclass(frozen=True, slots=True)
class StageFailed:
    """A stage has failed; the stages that depend on it will not run. Do not modify."""

    stage: Stage
    """The stage."""
    reason: str
    """The reason, in one sentence."""
    details: str = ""
    """The traceback; empty where there is none."""


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run is over. Do not modify."""

    executed: int
    """Number of stages that succeeded."""
    failed: int
    """Number of stages that failed."""
    skipped: int
    """Number of stages that did not run because a stage before them failed."""
    wall_s: float
    """Duration of the run, seconds."""
    interrupted: bool = False
    """True if the user interrupted the run."""


@dataclass(frozen=True, slots=True)
class ResultsReady:
    """The results of a run can be read; what is missing in the store is missing. Do not modify."""

    benchmark: str
    """Name of the benchmark."""
    records: tuple[Mapping[str, Any], ...] = ()
    """A flat record of each metric of each row, as :meth:`.Results.to_records` returns them."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """The leaderboard as text, by name of a file: ``leaderboard.md``, ``leaderboard.csv``."""
    figures: Mapping[str, bytes] = field(default_factory=dict)
    """Figures, by name of a file: ``features.svg``, ``poisons.png``."""
