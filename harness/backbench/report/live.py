"""The live display of a run, on a terminal."""

from __future__ import annotations

import time

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from backbench.model import Stage
from backbench.plugin import hookimpl
from backbench.plugin.events import (
    RunFinished,
    RunStarted,
    StageFailed,
    StageFinished,
    StageProgress,
    StageStarted,
)
from backbench.report.display import Display, Remaining, clock, few, values_text


class LiveProgress(Display):
    """A bar for the run, and one for each stage that runs."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._total = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("stages ·"),
            TimeElapsedColumn(),
            TextColumn("elapsed · about {task.fields[left]} left"),
            console=console,
        )
        self._stages = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[values]}"),
            console=console,
        )
        self._live: Live | None = None
        self._run: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}

    def close(self) -> None:
        """Take the display down."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    @hookimpl
    def run_started(self, event: RunStarted) -> None:
        """Put the display up."""
        self._remaining = Remaining(event.stages, event.slots)
        self._run = self._total.add_task(escape(event.benchmark), total=len(event.stages), left="–")
        for note in few(event.notes):
            self._console.print(f"[yellow]warning[/] {escape(note)}", highlight=False)
        shown = Group(self._total, self._stages)
        self._live = Live(shown, console=self._console, transient=True, redirect_stdout=False)
        self._live.start()

    @hookimpl
    def stage_started(self, event: StageStarted) -> None:
        """Add a bar."""
        self._remaining.started(event.stage, time.monotonic())
        self._tasks[event.stage.key] = self._stages.add_task(
            escape(event.stage.label), total=None, rate="", values=""
        )

    @hookimpl
    def stage_progress(self, event: StageProgress) -> None:
        """Move a bar."""
        task = self._tasks[event.stage.key]
        self._remaining.progressed(event.stage, event.done / max(1, event.total))
        self._stages.update(task, completed=event.done, total=event.total)
        if event.values:
            self._stages.update(task, values=values_text(event.values))
        speed = next(one.speed for one in self._stages.tasks if one.id == task)
        self._stages.update(task, rate=f"{speed:.3g}/s" if speed else "")
        self._tell_left()

    @hookimpl
    def stage_finished(self, event: StageFinished) -> None:
        """Take a bar away."""
        self._end(event.stage)

    @hookimpl
    def stage_failed(self, event: StageFailed) -> None:
        """Print why the stage failed, above the bars."""
        text = escape(f"{event.stage.label}: {event.reason}")  # a path may look like markup
        self._console.print(f"[red]failed[/] {text}", highlight=False)
        self._end(event.stage)

    @hookimpl
    def run_finished(self, event: RunFinished) -> None:  # noqa: ARG002 - the hook's signature
        """Take the display down."""
        self.close()

    def _end(self, stage: Stage) -> None:
        self._remaining.ended(stage, time.monotonic())
        self._stages.remove_task(self._tasks.pop(stage.key))
        if self._run is not None:
            self._total.advance(self._run)
        self._tell_left()

    def _tell_left(self) -> None:
        if self._run is not None:
            self._total.update(self._run, left=clock(self._remaining.seconds(time.monotonic())))
