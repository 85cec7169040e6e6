"""Watch a run of another process, by the file that it keeps in its store."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from backbench.errors import UsageError, printable
from backbench.model import Plan
from backbench.report.console import make_console
from backbench.report.progress.drawing import draw
from backbench.report.progress.remaining import clock
from backbench.report.progress.state import RunState
from backbench.store.store import Store
from backbench.system.files import read_text
from backbench.system.json_text import from_json

#: Seconds between two looks at the file.
_EVERY_S = 0.5

#: Seconds after which a line tells how old the state is: a stage may have nothing to report.
_OLD_S = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """The state of a run as its file has it.

    Args:
        state: The state, by the clock of the reader.
        age: Seconds since it was written.
        end: Why nothing more will come; empty while the run is going on.
        unknown: Number of stages of the run that the plan of the reader lacks; the state, too.
    """

    state: RunState
    age: float
    end: str
    unknown: int


def watch(plan: Plan, store: Store, console: Console | None = None) -> None:
    """Show the run of a store until it ends; without a terminal, print its state once.

    Raises:
        UsageError: If the store has no such file.
    """
    console = console or make_console()
    printed: set[str] = set()
    seen = look(plan, store)
    with Live(console=console, auto_refresh=False, transient=console.is_terminal) as live:
        while True:
            for key in [one for one in seen.state.failed if one not in printed]:
                printed.add(key)
                console.print(f"failed {seen.state.failure(key)}", markup=False, highlight=False)
            live.update(_view(seen, console), refresh=True)
            if seen.end or not console.is_terminal:
                break
            time.sleep(_EVERY_S)
            seen = look(plan, store)
    if seen.end:
        console.print(seen.end, markup=False, highlight=False)


def look(plan: Plan, store: Store) -> Seen:
    """Read the state of a run.

    Raises:
        UsageError: If the store has none, or one that cannot be read.
    """
    try:
        content = from_json(read_text(store.progress))
        age = max(0.0, time.time() - content["at"])
        state = RunState.from_json(content, plan, time.monotonic() - age)
        unknown = len(content["stages"]) - len(state.stages)
        return Seen(state, age, _end(content, age), unknown)
    except FileNotFoundError:
        sentence = f"{store.root}: no run has been here: `backbench run` begins one"
        raise UsageError(sentence) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{store.progress}: cannot be read ({printable(str(error))}): it is of another version "
            "of backbench, or damaged; the next run writes it anew"
        ) from error


def _end(content: Mapping[str, Any], age: float) -> str:
    if content["over"]:
        failed = len(content["failed"])
        counts = f"{len(content['ended'])} of {len(content['stages'])} stages, {failed} failed"
        return f"the run ended {clock(age)} ago after {clock(content['elapsed'])}: {counts}"
    if content["host"] == platform.node() and not _is_alive(content["process"]):
        return f"the run was killed: its last word came {clock(age)} ago"
    return ""


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _view(seen: Seen, console: Console) -> Text:
    size, notes = console.size, Text()
    if seen.unknown:
        stages = "1 stage" if seen.unknown == 1 else f"{seen.unknown} stages"
        remedy = "pass the --profile and --set of the run"
        notes.append(f"\nnot in this plan: {stages} of the run: {remedy}", "yellow")
    if seen.age > _OLD_S and not seen.end:
        notes.append(f"\nas of {clock(seen.age)} ago", "dim")
    height = size.height - 1 - notes.plain.count("\n")
    return draw(seen.state, time.monotonic(), size.width, height).append_text(notes)
