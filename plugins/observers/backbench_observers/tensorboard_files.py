"""TensorBoard: an event file for each stage that has curves, and one for the results."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from backbench.plugin import Observer, ResultsReady, RunStarted, StageProgress
from backbench_observers.names import curves, final, now


class TensorBoard(Observer):
    """Writes below ``folder/BENCHMARK/TIME``: a folder for each stage, and ``results``.

    torch's own writer is not used: it imports torch, which takes seconds.
    """

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._began = now()
        self._benchmark = "backbench"
        self._writers: dict[str, EventFileWriter] = {}

    def run_started(self, event: RunStarted) -> None:
        """Remember the benchmark."""
        self._benchmark = event.benchmark

    def stage_progress(self, event: StageProgress) -> None:
        """Add a point to the curves of a stage; the step is that of the training."""
        found = curves(event)
        if found:
            writer = self._writer(event.stage.label)
            for name, value in found.items():
                self._add(writer, scalar_pb(name, value), event.done)
            writer.flush()

    def results_ready(self, event: ResultsReady) -> None:
        """Add numbers, the table as text, PNG figures as images, and other figures as files."""
        self._benchmark = event.benchmark
        writer = self._writer("results")
        for name, value in final(event):
            self._add(writer, scalar_pb(name, value), 0)
        if table := event.tables.get("leaderboard.md"):
            self._add(writer, text_pb("leaderboard", table), 0)
        for name, content in event.figures.items():
            if name.endswith(".png"):
                image = Summary.Image(encoded_image_string=content)
                value = Summary.Value(tag=f"figures/{Path(name).stem}", image=image)
                self._add(writer, Summary(value=[value]), 0)
            else:  # TensorBoard shows no SVG
                path = Path(writer.get_logdir(), "figures", name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
        writer.flush()

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, name: str) -> EventFileWriter:
        if name not in self._writers:
            parts = (re.sub(r'[/\\:*?"<>|]', "_", one) for one in (self._benchmark, name))
            benchmark, stage = parts
            folder = Path(self.options.folder, benchmark, self._began, stage)
            self._writers[name] = EventFileWriter(str(folder))
        return self._writers[name]

    @staticmethod
    def _add(writer: EventFileWriter, summary: Summary, step: int) -> None:
        writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
