"""Progress of a run: a live display on a terminal, plain lines elsewhere.

Both are observers like any plugin's: they register on the bus and implement hooks.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

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

from backbench.model import Stage, StageKind
from backbench.plugin import hookimpl
from backbench.plugin.events import (
    RunFinished,
    RunStarted,
    StageFailed,
    StageFinished,
    StageProgress,
    StageStarted,
)
from backbench.plugin.registry import Registry

_Sort = tuple[str, str]

#: Kinds of stages that take nearly all of the time.
_LONG = frozenset(
    {
        StageKind.FIT_TRIGGER,
        StageKind.PRETRAIN,
        StageKind.IMPLANT,
        StageKind.SANITIZE,
        StageKind.INSPECT,
        StageKind.REPAIR,
        StageKind.FIT_DETECTOR,
    }
)

#: Names of what training logs, as there is room for.
_SHORT = {
    "feature_spread": "spread",
    "effective_rank": "rank",
    "knn_accuracy": "k-NN",
    "knn_accuracy_triggered": "k-NN triggered",
    "knn_asr": "k-NN ASR",
    "resumed": "goes on after epoch",
}

#: So many notes on the store are printed.
_NOTES = 20

#: Seconds between two plain lines about the same stage.
_PLAIN_EVERY_S = 30.0

#: Seconds without a plain line after which a line names what is running.
STILL_EVERY_S = 180.0


@contextmanager
def attach_progress(registry: Registry, console: Console | None = None) -> Iterator[None]:
    """Show progress on a console, stderr by default, while the context lasts."""
    console = console or Console(stderr=True)
    observer = LiveProgress(console) if console.is_terminal else PlainProgress(console)
    registry.manager.register(observer)
    try:
        yield
    finally:
        registry.manager.unregister(observer)
        observer.close()


class _Progress:
    """The console and the remaining time of either display."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._remaining = Remaining((), 1)

    def close(self) -> None:
        """Take the display down, if there is one."""


class LiveProgress(_Progress):
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
        for note in _few(event.notes):
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
            self._stages.update(task, values=_values(event.values))
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


class PlainProgress(_Progress):
    """A line when a stage ends, and a line now and then while it runs."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._total = 0
        self._done = 0
        self._began = 0.0
        self._printed: dict[str, float] = {}
        self._running: dict[str, tuple[str, float]] = {}
        self._closed = threading.Event()
        threading.Thread(target=self._say_what_runs, daemon=True).start()

    def close(self) -> None:
        """Report nothing more."""
        self._closed.set()

    @hookimpl
    def run_started(self, event: RunStarted) -> None:
        """Print the number of stages."""
        self._total, self._began = len(event.stages), time.monotonic()
        self._remaining = Remaining(event.stages, event.slots)
        for note in _few(event.notes):
            self._print(f"warning: {note}")
        self._print(
            f"{event.benchmark}: {self._total} stages to run, {event.cached} in the store, "
            f"{event.slots} at a time"
        )

    @hookimpl
    def stage_started(self, event: StageStarted) -> None:
        """Start its clock."""
        now = time.monotonic()
        self._printed[event.stage.key] = now
        self._running[event.stage.key] = (event.stage.label, now)
        self._remaining.started(event.stage, now)

    @hookimpl
    def stage_progress(self, event: StageProgress) -> None:
        """Print the progress of a long stage."""
        key, now = event.stage.key, time.monotonic()
        self._remaining.progressed(event.stage, event.done / max(1, event.total))
        late = now - self._printed.get(key, now) >= _PLAIN_EVERY_S
        if late or "resumed" in event.values:
            self._printed[key] = now
            progress = f"{event.done}/{event.total} {_values(event.values)}"
            self._print(f"  … {event.stage.label}: {progress}")

    @hookimpl
    def stage_finished(self, event: StageFinished) -> None:
        """Print that the stage is done, and how long the rest may take."""
        now = self._end(event.stage)
        self._print(
            f"[{self._done}/{self._total}] {event.stage.label}: {event.wall_s:.1f} s "
            f"({clock(now - self._began)} elapsed, about "
            f"{clock(self._remaining.seconds(now))} left)"
        )

    @hookimpl
    def stage_failed(self, event: StageFailed) -> None:
        """Print why the stage failed."""
        self._end(event.stage)
        self._print(f"[{self._done}/{self._total}] FAILED {event.stage.label}: {event.reason}")

    def _end(self, stage: Stage) -> float:
        now = time.monotonic()
        self._done += 1
        self._running.pop(stage.key, None)
        self._remaining.ended(stage, now)
        return now

    def _say_what_runs(self) -> None:
        """Name the stages of which nothing has been printed for long, until all is closed."""
        while not self._closed.wait(STILL_EVERY_S):
            now = time.monotonic()
            long = [
                f"{label} ({clock(now - began)})"
                for key, (label, began) in list(self._running.items())
                if now - self._printed[key] >= STILL_EVERY_S
            ]
            if long:
                self._print(f"  still running: {', '.join(long)}")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _few(notes: Sequence[str]) -> Iterator[str]:
    """Yield the first notes, and how many there are."""
    yield from notes[:_NOTES]
    if len(notes) > _NOTES:
        yield f"{len(notes)} such warnings in all"


def _values(values: Mapping[str, float]) -> str:
    return " ".join(
        f"{_SHORT.get(name, name)} {value:.3g}" for name, value in values.items() if name != "epoch"
    )


# -- the remaining time --------------------------------------------------------------------------


class Remaining:
    """Estimates the remaining seconds of a run.

    A stage is expected to take as long as those of its kind and plugin did, else as those of its
    kind; a running stage shows its progress. While nothing has been seen of a kind that trains,
    there is no estimate; of the other kinds, what has not been seen counts nothing.
    """

    def __init__(self, stages: Iterable[Stage], slots: int) -> None:
        self._left = {stage.key: _sort(stage) for stage in stages}
        self._slots = slots
        self._seen: dict[_Sort, list[float]] = {}
        self._running: dict[str, tuple[float, float]] = {}

    def started(self, stage: Stage, now: float) -> None:
        """Note that a stage has begun."""
        self._running[stage.key] = (now, 0.0)

    def progressed(self, stage: Stage, fraction: float) -> None:
        """Note how much of a stage is done, in [0, 1]."""
        if stage.key in self._running:
            self._running[stage.key] = (self._running[stage.key][0], fraction)

    def ended(self, stage: Stage, now: float) -> None:
        """Note that a stage is over, well or not."""
        began, _ = self._running.pop(stage.key, (now, 0.0))
        self._left.pop(stage.key, None)
        self._seen.setdefault(_sort(stage), []).append(now - began)

    def seconds(self, now: float) -> float:
        """Return the estimate; ``nan`` while of some kind of training nothing is known."""
        known = {sort: math.fsum(walls) / len(walls) for sort, walls in self._seen.items()}
        for key, (began, fraction) in self._running.items():
            if fraction > 0:
                known.setdefault(self._left[key], (now - began) / fraction)
        total = 0.0
        for key, sort in self._left.items():
            expected = known.get(sort, _mean_of_kind(known, sort[0]))
            if key in self._running:
                began, fraction = self._running[key]
                done = fraction * expected if fraction > 0 else now - began
                expected = max(0.0, expected - done)
            total += expected
        unknown = {kind for kind, _ in self._left.values()} - {kind for kind, _ in known}
        return math.nan if not known or unknown & _LONG else total / self._slots


def _sort(stage: Stage) -> _Sort:
    return stage.kind.value, " with ".join(use.name for use in stage.uses)


def _mean_of_kind(known: dict[_Sort, float], kind: str) -> float:
    same = [seconds for (one, _), seconds in known.items() if one == kind]
    return math.fsum(same) / len(same) if same else 0.0


def clock(seconds: float) -> str:
    """Format seconds: ``0:07``, ``12:30``, ``1:05:00``; ``–`` if not known."""
    if math.isnan(seconds):
        return "–"
    whole = round(seconds)
    minutes = f"{whole // 60 % 60}:{whole % 60:02}"
    return f"{whole // 3600}:{minutes:0>5}" if whole >= 3600 else minutes
