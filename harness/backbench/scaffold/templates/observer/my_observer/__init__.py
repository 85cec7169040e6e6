"""Observe runs. Every command imports this module: do not import torch here.

A hook takes its event, which is frozen, or nothing. What an observer raises is reported and stops
nothing. Standard output belongs to the command: log, or write to a file.
"""

from __future__ import annotations

import logging
from collections import defaultdict

from backbench.plugin import StageFinished, hookimpl

_log = logging.getLogger(__name__)
_seconds: defaultdict[str, float] = defaultdict(float)


@hookimpl
def run_started() -> None:
    """Begin anew: a process may see several runs."""
    _seconds.clear()


@hookimpl
def stage_finished(event: StageFinished) -> None:
    """Add up the seconds of each kind of stage."""
    _seconds[event.stage.kind.value] += event.wall_s


@hookimpl
def run_finished() -> None:
    """Log what took longest."""
    for kind, seconds in sorted(_seconds.items(), key=lambda one: -one[1])[:3]:
        _log.warning("my-observer: %s took %.1f s", kind, seconds)
