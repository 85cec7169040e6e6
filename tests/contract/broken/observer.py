"""Observers of runs."""

from __future__ import annotations

import os
import random  # noqa: TID251 - what is caught
from pathlib import Path
from typing import Any

import numpy as np

from backbench.errors import PluginError
from backbench.model import Stage, StageKind
from backbench.plugin import StageProgress, hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry
from backbench.testing import ObserverContract
from tests.contract.broken import broken


class Right:
    """It keeps what it is told."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def stage_progress(self, event):
        self.seen.append(dict(event.values))


class Kit(ObserverContract):
    __test__ = False
    sample: Any = Right

    def __init__(self) -> None:
        self.plugin = self.sample()


def harness(kit: Kit, folder: Path) -> None:
    """Hand an event to the observer; what the registry reports is raised."""
    registry = Registry()
    registry.add(kit.plugin, Origin("broken", "", ""))
    stage = Stage(StageKind.PRETRAIN, None, 0, label="pretrain")
    registry.emit("stage_progress", StageProgress(stage, 1, 2, {"lr": 0.1}))
    if registry.failures:
        raise PluginError(registry.failures[0].reason)


_EVENTS, _PROCESS = "test_it_takes_the_events_of_two_runs", "test_it_leaves_the_process_as_it_is"


@broken(_EVENTS, "raised KeyError: 'loss'")
class ExpectsALoss:
    """It expects a loss in every event."""

    @hookimpl
    def stage_progress(self, event):
        float(event.values["loss"])


@broken(_EVENTS, "raised SystemExit")
class EndsTheRun:
    """It ends the process."""

    @hookimpl
    def stage_progress(self, event):
        raise SystemExit(3)


@broken(_EVENTS, "raised TypeError: this dict is read-only")
class AddsAValue:
    """It adds a value, which other observers would see."""

    @hookimpl
    def stage_progress(self, event):
        event.values["seen"] = 1.0


@broken(_EVENTS, "raised FrozenInstanceError")
class SetsTheTotal:
    """It changes the event."""

    @hookimpl
    def stage_progress(self, event):
        event.total = 1


@broken(_EVENTS)
class PrintsProgress:
    """It prints to stdout, where a table or JSON is expected."""

    @hookimpl
    def stage_progress(self, event):
        print(event.done)


@broken(_EVENTS)
class DividesByTheTotal:
    """It divides by the number of steps, which may be 0."""

    @hookimpl
    def stage_progress(self, event):
        return event.done / event.total


@broken(_EVENTS)
class SeesOneRunOnly:
    """It fails in the second run of a process."""

    began = False

    @hookimpl
    def run_started(self, event):
        if self.began:
            raise RuntimeError("has begun already")
        self.began = True


@broken("test_the_registry_takes_it", "there is no hook 'stage_finishd': did you mean")
class MisspellsItsHook:
    """It implements a hook that there is not."""

    @hookimpl
    def stage_finishd(self, event):
        pass


@broken("test_the_registry_takes_it", "Argument.s.|argument")
class TakesTwoArguments:
    """It takes an argument that the hook does not have."""

    @hookimpl
    def stage_progress(self, event, store):
        pass


@broken("test_it_observes_something", "implements no hook")
class ForgetsTheMark:
    """It does not mark its hook as an implementation."""

    def stage_progress(self, event):
        pass


@broken(_PROCESS)
class DrawsFromNumPy:
    """It draws from NumPy's global generator."""

    @hookimpl
    def stage_progress(self, event):
        np.random.rand()  # noqa: NPY002 - what is caught


@broken(_PROCESS)
class SeedsRandom:
    """It seeds the standard library's generator."""

    @hookimpl
    def run_started(self, event):
        random.seed(0)


@broken(_PROCESS)
class SetsAVariable:
    """It sets an environment variable, which workers inherit."""

    @hookimpl
    def run_started(self, event):
        os.environ["OMP_NUM_THREADS_OF_AN_OBSERVER"] = "8"
