"""MLflow: one run a run of backbench, and below it one for each stage that has curves."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric

from backbench.plugin import (
    Observer,
    ResultsReady,
    RunFinished,
    RunStarted,
    Stage,
    StageFailed,
    StageFinished,
    StageProgress,
)
from backbench_observers.names import curves, final, now

#: Metrics that MLflow takes at a time.
_MOST = 1000

#: Seconds between two writes of a stage's curves: a write to a database takes 20 ms of a core.
_EVERY_S = 5.0


class MLflow(Observer):
    """Runs of the experiment that has the benchmark's name."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._client = MlflowClient(tracking_uri=options.tracking_uri)
        self._experiment = self._run = ""
        self._stages: dict[str, str] = {}
        self._waiting: dict[str, list[Metric]] = {}
        self._written: dict[str, float] = {}
        self._status = "FINISHED"

    def run_started(self, event: RunStarted) -> None:
        """Begin the run."""
        self._open(event.benchmark)

    def stage_progress(self, event: StageProgress) -> None:
        """Add a point to the curves of a stage, over the steps of its training."""
        if found := curves(event):
            run = self._stage(event.stage)
            self._waiting.setdefault(run, []).extend(_metrics(found.items(), event.done))
            if time.monotonic() - self._written.get(run, -_EVERY_S) >= _EVERY_S:
                self._write(run)

    def stage_finished(self, event: StageFinished) -> None:
        """End the run of a stage."""
        self._end(event.stage, "FINISHED")

    def stage_failed(self, event: StageFailed) -> None:
        """End the run of a stage, with the reason."""
        self._status = "FAILED"
        self._client.set_tag(self._stage(event.stage), "failed", event.reason)
        self._end(event.stage, "FAILED")

    def run_finished(self, event: RunFinished) -> None:
        """Note how the run ended."""
        if event.interrupted:
            self._status = "KILLED"
        counts = {"executed": event.executed, "failed": event.failed, "wall_s": event.wall_s}
        self._log(self._run, counts.items())

    def results_ready(self, event: ResultsReady) -> None:
        """Add the numbers to the run, and the tables and figures to its artifacts."""
        self._open(event.benchmark)
        self._log(self._run, final(event))
        with tempfile.TemporaryDirectory() as folder:
            for name, text in event.tables.items():
                Path(folder, name).write_text(text, encoding="utf-8")
            for name, content in event.figures.items():
                Path(folder, name).write_bytes(content)
            self._client.log_artifacts(self._run, folder)

    def close(self) -> None:
        """End the run, and those of stages that were interrupted."""
        for run in self._stages.values():
            self._write(run)
            self._client.set_terminated(run, "KILLED")
        if self._run:
            self._client.set_terminated(self._run, self._status)

    def _open(self, benchmark: str) -> None:
        if not self._run:
            name = self.options.experiment or benchmark
            found = self._client.get_experiment_by_name(name)
            made = self._client.create_experiment(name) if found is None else found.experiment_id
            self._experiment = made
            self._run = self._begin(f"{benchmark} {now()}", {})

    def _begin(self, name: str, tags: dict[str, Any]) -> str:
        run = self._client.create_run(self._experiment, run_name=name, tags=tags)
        identity: str = run.info.run_id
        return identity

    def _stage(self, stage: Stage) -> str:
        if stage.key not in self._stages:
            uses = ", ".join(use.name for use in stage.uses)
            tags = {"mlflow.parentRunId": self._run, "stage": stage.key, "plugin": uses}
            self._stages[stage.key] = self._begin(stage.label, tags)
        return self._stages[stage.key]

    def _end(self, stage: Stage, status: str) -> None:
        if run := self._stages.pop(stage.key, ""):
            self._write(run)
            self._client.set_terminated(run, status)

    def _write(self, run: str) -> None:
        """Write the points of curves that wait."""
        self._written[run] = time.monotonic()
        self._send(run, self._waiting.pop(run, []))

    def _log(self, run: str, values: Iterable[tuple[str, float]]) -> None:
        self._send(run, _metrics(values, 0))

    def _send(self, run: str, metrics: list[Metric]) -> None:
        for first in range(0, len(metrics), _MOST):
            self._client.log_batch(run, metrics[first : first + _MOST])


def _metrics(values: Iterable[tuple[str, float]], step: int) -> list[Metric]:
    at = round(1000 * time.time())
    return [Metric(_key(name), value, at, step) for name, value in values]


def _key(name: str) -> str:
    """Return a name of a metric that MLflow takes: letters, digits and ``_-. :/``."""
    return re.sub(r"[^\w\-. :/]", "_", name)
