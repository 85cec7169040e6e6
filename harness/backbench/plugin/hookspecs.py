"""The hooks, in the order in which a run calls them.

pluggy is the bus, no more: a hook says who is there, or what has happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from backbench.plugin.events import (
    RunFinished,
    RunStarted,
    StageFailed,
    StageFinished,
    StageProgress,
    StageStarted,
)
from backbench.plugin.infos import (
    AttackInfo,
    Column,
    DatasetInfo,
    DefenseInfo,
    EvaluatorInfo,
    ExecutorInfo,
    MetricInfo,
    SSLMethodInfo,
)

if TYPE_CHECKING:
    import click

hookspec = pluggy.HookspecMarker("backbench")


class BackbenchHooks:
    """All hooks. Implement any of them in the module that your entry point names."""

    # -- who is there ---------------------------------------------------------------------

    @hookspec
    def register_datasets(self) -> Iterable[DatasetInfo]:
        """Announce datasets."""
        yield from ()

    @hookspec
    def register_attacks(self) -> Iterable[AttackInfo]:
        """Announce attacks."""
        yield from ()

    @hookspec
    def register_ssl_methods(self) -> Iterable[SSLMethodInfo]:
        """Announce self-supervised methods."""
        yield from ()

    @hookspec
    def register_defenses(self) -> Iterable[DefenseInfo]:
        """Announce defenses."""
        yield from ()

    @hookspec
    def register_evaluators(self) -> Iterable[EvaluatorInfo]:
        """Announce evaluators."""
        yield from ()

    @hookspec
    def register_executors(self) -> Iterable[ExecutorInfo]:
        """Announce executors."""
        yield from ()

    @hookspec
    def register_metrics(self) -> Iterable[MetricInfo]:
        """Announce metrics that are computed from stored predictions."""
        yield from ()

    @hookspec
    def leaderboard_columns(self) -> Iterable[Column]:
        """Add columns to the leaderboard, for metrics that evaluation records carry."""
        yield from ()

    @hookspec
    def add_commands(self, cli: click.Group) -> None:
        """Add commands to ``backbench``.

        Args:
            cli: The root group.
        """

    # -- what has happened; an observer's exception is reported and goes no further --------

    @hookspec
    def run_started(self, event: RunStarted) -> None:
        """A run is about to execute its stages."""

    @hookspec
    def stage_started(self, event: StageStarted) -> None:
        """A worker has begun a stage."""

    @hookspec
    def stage_progress(self, event: StageProgress) -> None:
        """A stage reports how far it is."""

    @hookspec
    def stage_finished(self, event: StageFinished) -> None:
        """A stage's artifact and record are in the store."""

    @hookspec
    def stage_failed(self, event: StageFailed) -> None:
        """A stage failed."""

    @hookspec
    def run_finished(self, event: RunFinished) -> None:
        """A run is over."""
