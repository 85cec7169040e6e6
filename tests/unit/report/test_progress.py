"""Progress on a terminal and elsewhere, from the same events."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from backbench.model import Stage, StageKind
from backbench.plugin.events import (
    RunFinished,
    RunStarted,
    StageFailed,
    StageFinished,
    StageProgress,
    StageStarted,
)
from backbench.plugin.registry import Registry
from backbench.report.progress import displays
from backbench.report.progress.displays import attach_progress, attach_status
from backbench.store.store import Store

STAGES = tuple(
    Stage(kind=StageKind.PRETRAIN, plugin=None, seed=seed, label=f"pretrain seed {seed}")
    for seed in (0, 1)
)


def play(terminal: bool) -> str:
    registry = Registry()
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    with attach_progress(registry, console):
        registry.emit("run_started", RunStarted("bench", STAGES, 3, 2))
        for stage in STAGES:
            registry.emit("stage_started", StageStarted(stage))
        registry.emit("stage_progress", StageProgress(STAGES[0], 3, 10, {"resumed": 3.0}))
        registry.emit("stage_progress", StageProgress(STAGES[0], 5, 10, {"loss": 1.25}))
        registry.emit("stage_progress", StageProgress(STAGES[0], 6, 10, {}))
        registry.emit("stage_finished", StageFinished(STAGES[0], 12.5))
        registry.emit("stage_failed", StageFailed(STAGES[1], "the [/wheel] came off"))
        registry.emit("run_finished", RunFinished(1, 1, 0, 12.5))
    assert registry.failures == []  # no observer raised
    return out.getvalue()


def test_plain_lines() -> None:
    lines = play(terminal=False).splitlines()
    assert lines[0] == "bench: 2 stages to run, 3 in the store, 2 at a time"
    assert lines[1] == "  … pretrain seed 0: 3/10 goes on after epoch 3"
    assert re.match(r"\[1/2\] pretrain seed 0: 12.5 s \(0:\d\d elapsed, about ", lines[2])
    assert lines[3] == "[2/2] FAILED pretrain seed 1: the [/wheel] came off"


def test_a_loss_that_is_not_a_number_is_left_out_of_the_file_for_watchers(tmp_path: Path) -> None:
    registry, store = Registry(), Store(tmp_path / "store")
    store.prepare()
    with attach_status(registry, store):
        registry.emit("run_started", RunStarted("bench", STAGES, 0, 1))
        registry.emit("stage_started", StageStarted(STAGES[0]))
        values = {"loss": float("nan"), "spread": 0.5}
        registry.emit("stage_progress", StageProgress(STAGES[0], 1, 10, values))
        registry.emit("run_finished", RunFinished(0, 0, 0, 1.0))
    assert registry.failures == []
    running = json.loads(store.progress.read_text(encoding="utf-8"))["running"]
    assert running[STAGES[0].key]["values"] == {"spread": 0.5}


def test_a_stage_of_which_nothing_is_heard_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displays, "STILL_EVERY_S", 0.05)
    registry = Registry()
    out = io.StringIO()
    with attach_progress(registry, Console(file=out, width=120)):
        registry.emit("run_started", RunStarted("bench", STAGES, 3, 2))
        for stage in STAGES:
            registry.emit("stage_started", StageStarted(stage))
        registry.emit("stage_finished", StageFinished(STAGES[0], 12.5))
        deadline = time.monotonic() + 20
        while "still running" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert re.search(r"^  still running: pretrain seed 1 \(0:\d\d\)$", out.getvalue(), re.MULTILINE)


@pytest.mark.parametrize("word", ["bench", "the [/wheel] came off"])
def test_live_display(word: str) -> None:
    assert word in play(terminal=True)
