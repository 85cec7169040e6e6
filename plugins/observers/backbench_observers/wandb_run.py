"""Weights & Biases: one run, with the curves of every stage under its label."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import wandb

from backbench.plugin import (
    Observer,
    ResultsReady,
    RunFinished,
    RunStarted,
    StageFailed,
    StageProgress,
)
from backbench_observers.names import curves, final, now

#: The environment variable that wandb sets for processes that share its run.
_SERVICE = "WANDB_SERVICE"


class Wandb(Observer):
    """One run of Weights & Biases a run of backbench."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._run: Any = None
        self._defined: set[str] = set()
        self._failed = False

    def run_started(self, event: RunStarted) -> None:
        """Begin the run."""
        run = self._open(event.benchmark)
        run.config.update(
            {"benchmark": event.benchmark, "stages": len(event.stages), "cached": event.cached},
            allow_val_change=True,
        )

    def stage_progress(self, event: StageProgress) -> None:
        """Add a point to the curves of a stage, over the steps of its training."""
        label, found = event.stage.label, curves(event)
        if not found:
            return
        if label not in self._defined:
            self._defined.add(label)
            self._run.define_metric(f"{label}/*", step_metric=f"{label}/step")
        points = {f"{label}/{name}": value for name, value in found.items()}
        self._run.log({**points, f"{label}/step": event.done})

    def stage_failed(self, event: StageFailed) -> None:
        """Note why a stage failed."""
        self._failed = True
        self._run.summary[f"{event.stage.label}/failed"] = event.reason

    def run_finished(self, event: RunFinished) -> None:
        """Note how the run ended."""
        counts = {"executed": event.executed, "failed": event.failed, "wall_s": event.wall_s}
        self._run.summary.update(counts)

    def results_ready(self, event: ResultsReady) -> None:
        """Add the numbers to the summary; the table; and the files as an artifact."""
        run = self._open(event.benchmark)
        run.summary.update(dict(final(event)))
        if event.records:
            rows = [list(record.values()) for record in event.records]
            columns: list[str | int] = [*event.records[0]]
            table = wandb.Table(columns=columns, data=rows, allow_mixed_types=True)
            run.log({"leaderboard": table})
        artifact = wandb.Artifact("results", type="results")
        with tempfile.TemporaryDirectory() as folder:
            for name, text in event.tables.items():
                Path(folder, name).write_text(text, encoding="utf-8")
            for name, content in event.figures.items():
                Path(folder, name).write_bytes(content)
            artifact.add_dir(folder)
            run.log_artifact(artifact)

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            self._run.finish(exit_code=int(self._failed))

    def _open(self, benchmark: str) -> Any:
        if self._run is None:
            before = os.environ.get(_SERVICE)
            # wandb keeps the folder in which the first run of a process began
            folder = self.options.folder or Path(os.environ.get("WANDB_DIR") or Path.cwd())
            folder.mkdir(parents=True, exist_ok=True)
            self._run = wandb.init(
                project=self.options.project,
                entity=self.options.entity,
                mode=self.options.mode,
                dir=folder,
                name=f"{benchmark} {now()}",
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    disable_git=True,
                    disable_code=True,
                    save_code=False,
                    x_disable_stats=True,
                ),
            )
            if before is None:  # workers that start later would inherit it
                os.environ.pop(_SERVICE, None)
        return self._run
