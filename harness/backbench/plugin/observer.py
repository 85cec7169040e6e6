"""Interface of observers that a benchmark names: they pass a run on to a tracker of experiments."""

from __future__ import annotations

from typing import Any

from backbench.plugin.events import (
    ResultsReady,
    RunFinished,
    RunStarted,
    StageFailed,
    StageFinished,
    StageProgress,
    StageStarted,
)


class Observer:
    """Watches the runs that name it: ``[observers.NAME]``, or ``--observe NAME``.

    It is made, and its methods are called, in a thread of its own, in the order of the events: the
    run does not wait for it. What it raises is counted and reported once, at the end. It must not
    change the process, as stages may run there: no environment variable, no generator. Without
    stages to execute there is no run, and ``results_ready`` is the only event.

    Example::

        # my_plugin/journal.py
        from backbench.plugin import Observer

        class Journal(Observer):
            def stage_progress(self, event):
                if "loss" in event.values:
                    self.write(f"{event.stage.label},{event.done},{event.values['loss']}")

            def results_ready(self, event):
                for record in event.records:
                    self.write(f"{record['method']},{record['metric']},{record['mean']}")

            def write(self, line):
                with open(self.options.path, "a", encoding="utf-8") as file:
                    print(line, file=file)
    """

    def __init__(self, options: Any) -> None:
        self.options = options

    def run_started(self, event: RunStarted) -> None:
        """Observe that a run is about to execute its stages."""

    def stage_started(self, event: StageStarted) -> None:
        """Observe that a worker has begun a stage."""

    def stage_progress(self, event: StageProgress) -> None:
        """Observe how far a stage is; at the end of an epoch of a training, its loss."""

    def stage_finished(self, event: StageFinished) -> None:
        """Observe that a stage's artifact and record are in the store."""

    def stage_failed(self, event: StageFailed) -> None:
        """Observe that a stage failed."""

    def run_finished(self, event: RunFinished) -> None:
        """Observe that a run is over."""

    def results_ready(self, event: ResultsReady) -> None:
        """Observe the results of a run, after its end."""

    def close(self) -> None:
        """Write what is not yet written; called once, at the end."""
