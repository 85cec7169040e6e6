"""Displays of a run: a live view on a terminal, plain lines elsewhere, and a file for others.

All are observers like any plugin's: they register on the bus and implement hooks.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from backbench.errors import counted
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
from backbench.report.console import make_console
from backbench.report.progress.drawing import draw, shortly
from backbench.report.progress.remaining import clock, left
from backbench.report.progress.state import RunState
from backbench.store.store import Store
from backbench.system import files
from backbench.system.json_text import to_json

if TYPE_CHECKING:
    from rich.live import Live

#: So many notes on the store are printed.
_NOTES = 20

#: Seconds between two plain lines about the same stage.
_PLAIN_EVERY_S = 30.0

#: Seconds without a plain line after which a line names what is running.
STILL_EVERY_S = 180.0

#: Seconds between two writes of the file for others.
_WRITE_EVERY_S = 1.0


@contextmanager
def attach_progress(registry: Registry, console: Console | None = None) -> Iterator[None]:
    """Show progress on a console, stderr by default, while the context lasts."""
    console = console or make_console(stderr=True)
    kind = LiveProgress if console.is_terminal else PlainProgress
    with _attached(registry, kind(console)):
        yield


@contextmanager
def attach_lines(registry: Registry) -> Iterator[None]:
    """Print progress as lines on stderr, also on a terminal, while the context lasts."""
    with _attached(registry, PlainProgress(make_console(stderr=True))):
        yield


@contextmanager
def attach_status(registry: Registry, store: Store) -> Iterator[None]:
    """Keep the state of runs in a file of the store, for ``show --watch``."""
    with _attached(registry, _Status(store)):
        yield


@contextmanager
def _attached(registry: Registry, display: _Display) -> Iterator[None]:
    registry.manager.register(display)
    try:
        yield
    finally:
        registry.manager.unregister(display)
        display.close()


class _Display:
    """The state of a run, kept by its events."""

    def __init__(self) -> None:
        self.state = RunState("", ())

    def close(self) -> None:
        """Show nothing more."""

    @hookimpl
    def run_started(self, event: RunStarted) -> None:
        """Begin a state."""
        now = time.monotonic()
        self.state = RunState(
            event.benchmark, event.stages, event.cells, event.slots, now, seen=event.seen
        )

    @hookimpl
    def stage_started(self, event: StageStarted) -> None:
        """Start the clock of a stage."""
        self.state.started(event.stage, time.monotonic())

    @hookimpl
    def stage_progress(self, event: StageProgress) -> None:
        """Note how far a stage is."""
        now = time.monotonic()
        self.state.progressed(event.stage.key, now, event.done, event.total, event.values)

    @hookimpl
    def stage_finished(self, event: StageFinished) -> None:
        """Note that a stage is done."""
        self.state.finish(event.stage, time.monotonic())

    @hookimpl
    def stage_failed(self, event: StageFailed) -> None:
        """Note that a stage failed."""
        self.state.finish(event.stage, time.monotonic(), event.reason)


class LiveProgress(_Display):
    """The matrix, the running stages and the remaining time, drawn again and again."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._live: Live | None = None

    def close(self) -> None:
        """Take the display down."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    @hookimpl
    def run_started(self, event: RunStarted) -> None:
        """Put the display up."""
        from rich.live import Live  # late: only terminals need it

        super().run_started(event)
        for note in _few(event.notes):
            self._console.print(f"[yellow]warning[/] {escape(note)}", highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start()

    @hookimpl
    def stage_failed(self, event: StageFailed) -> None:
        """Print why the stage failed, and for how many cells, above the view."""
        super().stage_failed(event)
        text = escape(self.state.failure(event.stage.key))  # a path may look like markup
        self._console.print(f"[red]failed[/] {text}", highlight=False)

    @hookimpl
    def run_finished(self, event: RunFinished) -> None:  # noqa: ARG002 - the hook's signature
        """Take the display down."""
        self.close()

    def _draw(self) -> Text:
        size = self._console.size
        return draw(self.state, time.monotonic(), size.width, size.height - 1)


class PlainProgress(_Display):
    """A line when a stage ends, and a line now and then while it runs."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._printed: dict[str, float] = {}
        self._closed = threading.Event()
        threading.Thread(target=self._say_what_runs, daemon=True).start()

    def close(self) -> None:
        """Report nothing more."""
        self._closed.set()

    @hookimpl
    def run_started(self, event: RunStarted) -> None:
        """Print the number of stages."""
        super().run_started(event)
        for note in _few(event.notes):
            self._print(f"warning: {note}")
        self._print(
            f"{event.benchmark}: {counted(len(event.stages), 'stage')} to run, {event.cached} in "
            f"the store, {event.slots} at a time"
        )

    @hookimpl
    def stage_started(self, event: StageStarted) -> None:
        """Start its clock."""
        super().stage_started(event)
        self._printed[event.stage.key] = time.monotonic()

    @hookimpl
    def stage_progress(self, event: StageProgress) -> None:
        """Print the progress of a long stage."""
        super().stage_progress(event)
        key, now = event.stage.key, time.monotonic()
        late = now - self._printed.get(key, now) >= _PLAIN_EVERY_S
        if late or "resumed" in event.values:
            self._printed[key] = now
            progress = f"{event.done}/{event.total} {shortly(event.values)}"
            self._print(f"  … {event.stage.label}: {progress}")

    @hookimpl
    def stage_finished(self, event: StageFinished) -> None:
        """Print that the stage is done, and how long the rest may take."""
        super().stage_finished(event)
        now = time.monotonic()
        self._print(
            f"{self._count()} {event.stage.label}: {event.wall_s:.1f} s "
            f"({clock(now - self.state.began)} elapsed{left(self.state.seconds_left(now), ', ')})"
        )

    @hookimpl
    def stage_failed(self, event: StageFailed) -> None:
        """Print why the stage failed."""
        super().stage_failed(event)
        self._print(f"{self._count()} FAILED {event.stage.label}: {event.reason}")

    def _count(self) -> str:
        return f"[{self.state.over}/{len(self.state.stages)}]"

    def _say_what_runs(self) -> None:
        """Name the stages of which nothing has been printed for long, until all is closed."""
        while not self._closed.wait(STILL_EVERY_S):
            now = time.monotonic()
            long = [
                f"{one.stage.label} ({clock(now - one.began)})"
                for key, one in list(self.state.running.items())
                if now - self._printed.get(key, now) >= STILL_EVERY_S
            ]
            if long:
                self._print(f"  still running: {', '.join(long)}")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Status(_Display):
    """The state in a file of the store, written by rename; a disk that is full stops nothing."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._path = store.progress
        self._written = 0.0

    @hookimpl
    def run_started(self, event: RunStarted) -> None:
        """Write the file."""
        super().run_started(event)
        self._write()

    @hookimpl
    def stage_started(self, event: StageStarted) -> None:
        """Write the file, unless that has just been done."""
        super().stage_started(event)
        self._write_late()

    @hookimpl
    def stage_progress(self, event: StageProgress) -> None:
        """Write the file, unless that has just been done."""
        super().stage_progress(event)
        self._write_late()

    @hookimpl
    def stage_finished(self, event: StageFinished) -> None:
        """Write the file, unless that has just been done."""
        super().stage_finished(event)
        self._write_late()

    @hookimpl
    def stage_failed(self, event: StageFailed) -> None:
        """Write the file, unless that has just been done."""
        super().stage_failed(event)
        self._write_late()

    @hookimpl
    def run_finished(self, event: RunFinished) -> None:  # noqa: ARG002 - the hook's signature
        """Write that the run is over."""
        self._write(over=True)

    def _write_late(self) -> None:
        if time.monotonic() - self._written >= _WRITE_EVERY_S:
            self._write()

    def _write(self, *, over: bool = False) -> None:
        self._written = time.monotonic()
        content = {
            **self.state.to_json(self._written),
            "over": over,
            "at": time.time(),
            "host": platform.node(),
            "process": os.getpid(),
        }
        with suppress(OSError):
            files.write(self._path, to_json(content) + "\n", durable=False)


def _few(notes: Sequence[str]) -> Iterator[str]:
    """Yield the first notes, and how many there are."""
    yield from notes[:_NOTES]
    if len(notes) > _NOTES:
        yield f"{len(notes)} such warnings in all"
