"""Progress of a run: a live display on a terminal, plain lines elsewhere.

Both are observers like any plugin's: they register on the bus and implement hooks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from backbench.model import Stage
from backbench.plugin import hookimpl
from backbench.plugin.events import (
    RunStarted,
    StageFailed,
    StageFinished,
    StageProgress,
    StageStarted,
)
from backbench.plugin.registry import Registry
from backbench.report.display import Display, Remaining, clock, few, values_text

#: Seconds between two plain lines about the same stage.
_PLAIN_EVERY_S = 30.0

#: Seconds without a plain line after which a line names what is running.
STILL_EVERY_S = 180.0


@contextmanager
def attach_progress(registry: Registry, console: Console | None = None) -> Iterator[None]:
    """Show progress on a console, stderr by default, while the context lasts."""
    console = console or Console(stderr=True)
    observer = _display(console)
    registry.manager.register(observer)
    try:
        yield
    finally:
        registry.manager.unregister(observer)
        observer.close()


def _display(console: Console) -> Display:
    if not console.is_terminal:
        return PlainProgress(console)
    from backbench.report.live import LiveProgress  # late: only terminals need it

    return LiveProgress(console)


class PlainProgress(Display):
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
        for note in few(event.notes):
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
            progress = f"{event.done}/{event.total} {values_text(event.values)}"
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
