"""Observers that a benchmark names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from backbench.errors import PluginError
from backbench.execution.observing import observing
from backbench.model import Stage, StageKind
from backbench.plugin import Observer, ObserverInfo, ResultsReady, StageProgress
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registered, Registry
from backbench.testing import NamedObserverContract
from tests.contract.broken import broken


class Right(Observer):
    """It keeps the losses."""

    def stage_progress(self, event):
        self.losses = [event.values.get("loss")]


class Kit(NamedObserverContract):
    __test__ = False
    info = ObserverInfo(name="keeps", summary="Keeps.", target=f"{__name__}:Right")
    sample: Any = Right

    def implementation(self):
        return self.sample


class _Found(Registered):
    """A record whose class is a sample."""

    sample: Any = Right

    def implementation(self):
        return type(self).sample


def harness(kit: Kit, folder: Path) -> None:
    """Hand events to the observer; what is reported is raised."""
    registry = Registry()
    found = type("Found", (_Found,), {"sample": kit.sample})(kit.info, Origin("broken", "", ""))
    stage = Stage(StageKind.PRETRAIN, None, 0, label="pretrain")
    with observing(registry, {"keeps": (found, kit.info.options())}):
        registry.emit("stage_progress", StageProgress(stage, 1, 2, {"lr": 0.1}))
        registry.emit("results_ready", ResultsReady("b"))
    if registry.failures:
        raise PluginError(registry.failures[0].reason)


_TWO, _ALONE = "test_it_takes_the_events_of_two_runs", "test_it_takes_results_without_a_run"


@broken(_TWO, "1 of 2 events were not taken; the first reason: stage_progress raised KeyError")
class ExpectsALoss(Observer):
    """It expects a loss in every event."""

    def stage_progress(self, event):
        float(event.values["loss"])


@broken(_TWO, "1 of 2 events were not taken; the first reason: stage_progress raised SystemExit")
class EndsTheRun(Observer):
    """It ends its thread."""

    def stage_progress(self, event):
        raise SystemExit(3)


@broken(_TWO, "2 of 2 events were not taken; the first reason: making it raised TypeError")
class TakesNoOptions(Observer):
    """It is made without options."""

    def __init__(self):
        self.losses = []

    def stage_progress(self, event):
        self.losses.append(event.values)


@broken(_ALONE, "1 of 2 events were not taken; the first reason: results_ready raised")
class ExpectsARun(Observer):
    """It expects that a run has begun."""

    def run_started(self, event):
        self.began = True

    def results_ready(self, event):
        if not self.began:
            raise RuntimeError("has not begun")


@broken(_TWO, "close raised RuntimeError")
class FailsAtTheEnd(Observer):
    """It cannot be closed."""

    def close(self):
        raise RuntimeError("the server is gone")


@broken(_TWO)
class Prints(Observer):
    """It prints to stdout, where a table or JSON is expected."""

    def run_finished(self, event):
        print(event.executed)


@broken("test_it_leaves_the_process_as_it_is")
class SetsAVariable(Observer):
    """It sets an environment variable, which workers inherit."""

    def run_started(self, event):
        os.environ["OMP_NUM_THREADS_OF_AN_OBSERVER"] = "8"


@broken("test_it_observes_something")
class ObservesNothing(Observer):
    """It overrides no method."""
