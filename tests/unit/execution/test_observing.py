"""Observers that a run names: in threads of their own; what they do not take is counted."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from backbench.errors import UsageError
from backbench.execution import observing
from backbench.execution.observing import choose
from backbench.model import Stage, StageKind
from backbench.options.base import Options
from backbench.plugin import Observer, ObserverInfo, RunFinished, StageProgress
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registered, Registry, load_registry

STAGE = Stage(StageKind.PRETRAIN, None, 0, label="pretrain")
SEEN: list[tuple[str, int]] = []


class Keeps(Observer):
    def stage_progress(self, event):
        SEEN.append((threading.current_thread().name, event.done))


class ServerDies(Observer):
    def stage_progress(self, event):
        if event.done > 2:
            raise ConnectionError("no route to the server")


class Hangs(Observer):
    def stage_progress(self, event):
        time.sleep(30)


def found(name: str, observer: type) -> dict[str, Any]:
    info = ObserverInfo(name=name, summary="S.", target=f"{__name__}:{observer.__name__}")
    return {name: (Registered(info, Origin("acme", "1.2", "x")), Options())}


def watch(*observers: type, steps: int = 5) -> list[str]:
    """Send the events of a run; return what is reported."""
    registry = Registry()
    chosen = {
        name: one for kind in observers for name, one in found(kind.__name__.lower(), kind).items()
    }
    with observing.observing(registry, chosen):
        for step in range(steps):
            registry.emit("stage_progress", StageProgress(STAGE, step, steps))
        registry.emit("run_finished", RunFinished(1, 0, 0, 1.0))
    return [str(failure) for failure in registry.failures]


def test_events_arrive_in_order_in_a_thread_of_its_own() -> None:
    SEEN.clear()
    assert watch(Keeps) == []
    assert [("observer keeps", step) for step in range(5)] == SEEN


def test_a_server_that_dies_stops_nothing_and_is_counted_and_named_once() -> None:
    SEEN.clear()
    (reported,) = watch(ServerDies, Keeps)
    assert "observer 'serverdies': 2 of 6 events were not taken; the first reason: " in reported
    assert reported.endswith("stage_progress raised ConnectionError: no route to the server")
    assert len(SEEN) == 5


def test_one_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "CLOSE_S", 0.05)
    (reported,) = watch(Hangs)
    assert "observer 'hangs': 6 of 6 events were not taken; the first reason: it was" in reported
    assert reported.endswith("still busy 0.05 s after the run")


def test_all_that_is_wrong_with_the_named_ones_is_said_at_once() -> None:
    info = ObserverInfo(
        name="lab", summary="S.", target="x:Y", requires={"no_such_tracker": "lab-tracker>=2"}
    )
    tables = {"ours": (Registered(info, Origin("acme", "", "x")), Options())}
    with pytest.raises(UsageError) as caught:
        choose(load_registry(), tables, ["tensorbord"])
    assert str(caught.value).splitlines() == [
        "--observe tensorbord: no observer is called 'tensorbord': did you mean 'tensorboard'?",
        """observer 'ours' needs no_such_tracker, which is not installed: pip install "lab-tracker>=2\"""",
    ]


def test_the_table_of_a_file_is_in_no_key_and_its_problems_are_named(
    bench: Any, tiny_file: Path
) -> None:
    keys = bench("plan", str(tiny_file), "--stages").assert_ok().out
    text = tiny_file.read_text()
    tiny_file.write_text(f"{text}\n[observers.tensorboard]\nfolder = 'elsewhere'\n")
    assert bench("plan", str(tiny_file), "--stages").assert_ok().out == keys
    tiny_file.write_text(f"{text}\n[observers.tensorboard]\nfoldr = 1\n[observers.wandbb]\n")
    checked = bench("check", str(tiny_file))
    assert checked.code == 2
    assert "observers.tensorboard.foldr: unknown key: did you mean 'folder'?" in checked.err
    assert "observers.wandbb: no observer is called 'wandbb': did you mean 'wandb'?" in checked.err
