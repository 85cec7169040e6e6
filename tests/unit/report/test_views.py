"""The live view: matrix, sparklines, rates; the same state read by a watcher; heat maps."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from backbench.errors import UsageError
from backbench.model import Cell, CellName, Plan, PluginUse, Stage, StageKind
from backbench.plugin import RunFinished, RunStarted, StageFailed, StageProgress, StageStarted
from backbench.plugin.registry import Registry
from backbench.report.heat_map import print_map
from backbench.report.progress.displays import attach_status
from backbench.report.progress.drawing import draw, sparkline
from backbench.report.progress.state import RunState
from backbench.report.progress.watching import look, watch
from backbench.results.leaderboard import Leaderboard
from backbench.store.store import Store
from tests.factories import board, record

METHODS, ATTACKS = ("byol", "rotnet"), ("none", "patch-targeted")


def matrix(attacks: tuple[str, ...] = ATTACKS) -> tuple[dict[str, Stage], tuple[Cell, ...]]:
    """Return the stages and the cells of a matrix: a training and two evaluations a cell."""
    stages, cells = {}, []
    for method in METHODS:
        use = PluginUse("ssl-method", method, "backbench", 1, {"batch_size": 50}, {})
        for attack in attacks:
            label = f"pretrain {method} · {attack} · seed 0"
            trained = Stage(StageKind.PRETRAIN, use, 0, content=attack, label=label)
            stages[trained.key] = trained
            for evaluator in ("linear", "knn"):
                inputs = {"encoder": trained.key}
                last = Stage(StageKind.PREDICT, None, 0, inputs, evaluator, f"predict {evaluator}")
                stages[last.key] = last
                name = CellName("drawn", attack, method, "none", evaluator, 0)
                cells.append(Cell(name, (trained.key, last.key), None))
    return stages, tuple(cells)


def half_way() -> RunState:
    """Return a state: one cell's encoder failed, one trains, and one cell is done."""
    stages, cells = matrix()
    state = RunState("bench", stages.values(), cells, 2, 100.0)
    first, failed, trains, _ = (cell.path[0] for cell in cells[::2])
    for key, reason in ((first, ""), (cells[0].path[1], ""), (failed, "the loss is nan")):
        state.started(stages[key], 100.0)
        state.finish(stages[key], 110.0, reason)
    state.started(stages[trains], 110.0)
    for step in range(5):
        state.progressed(trains, 112.0 + step, 10 * (step + 1), 100, {"loss": 5.0 - step})
    return state


def test_the_view_at_80_columns() -> None:
    lines = draw(half_way(), 118.0, 80, 24).plain.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("bench ━")
    assert lines[0].endswith("3/12 stages · 0:18 elapsed · about 0:36 left")
    assert lines[1].split() == ["none", "patch-targeted"]
    assert lines[2].split() == ["byol", "■·", "✗✗"]
    assert lines[3].split() == ["rotnet", "▪▪", "··"]
    assert lines[4].split() == ["■", "done", "▪", "running", "·", "waiting", "✗", "failed"]
    assert lines[5].startswith("pretrain rotnet · none · seed 0 ")
    assert lines[5].split()[-5:] == ["1", "500", "img/s", "50%", "0:04"]
    assert "█▆▅▃▁" in lines[5]


def test_boxes_count_where_there_is_no_room_for_signs() -> None:
    stages, cells = matrix(tuple(f"attack-{at}" for at in range(30)))
    state = RunState("bench", stages.values(), cells, 2)
    lines = draw(state, 0.0, 50, 24).plain.splitlines()
    assert max(map(len, lines)) <= 50
    assert lines[2].split() == ["byol", "0/60"]


@pytest.mark.parametrize("height", [3, 8, 24])
def test_the_view_is_no_higher_than_the_terminal(height: int) -> None:
    assert len(draw(half_way(), 118.0, 80, height).plain.splitlines()) <= height


@pytest.mark.parametrize(
    ("values", "bars"),
    [([], ""), ([1.0], "▁"), ([3, 2, 1], "█▅▁"), ([2, math.nan, 1], "█?▁"), ([math.inf], "?")],
)
def test_sparkline(values: list[float], bars: str) -> None:
    assert sparkline(values, 10) == bars
    assert len(sparkline([*values, *range(100)], 10)) == 10


def test_what_failed_is_named_with_the_cells_that_need_it() -> None:
    state = half_way()
    (key,) = state.failed
    sentence = "pretrain byol · patch-targeted · seed 0 (2 cells need it): the loss is nan"
    assert state.failure(key) == sentence


# -- from another shell ----------------------------------------------------------------------


def test_a_watcher_sees_the_same_state() -> None:
    state = half_way()
    plan = Plan("bench", state.stages, tuple(state.cells))
    again = RunState.from_json(state.to_json(118.0), plan, 218.0)
    assert draw(again, 218.0, 80, 24).plain == draw(state, 118.0, 80, 24).plain


def test_a_run_keeps_its_state_for_watchers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages, cells = matrix()
    plan, store = Plan("bench", stages, cells), Store(tmp_path / "store")
    with pytest.raises(UsageError, match="no run has been here: `backbench run` begins one"):
        look(plan, store)
    store.prepare()
    registry, (first, *_) = Registry(), stages.values()
    with attach_status(registry, store):
        registry.emit("run_started", RunStarted("bench", (*stages.values(),), 0, 2, (), cells))
        assert not look(plan, store).end
        monkeypatch.setattr("backbench.report.progress.displays._WRITE_EVERY_S", 0.0)
        registry.emit("stage_started", StageStarted(first))
        registry.emit("stage_progress", StageProgress(first, 5, 10, {"loss": 1.0}))
        assert look(plan, store).state.running[first.key].fraction == 0.5
        registry.emit("stage_failed", StageFailed(first, "the loss is nan"))
        registry.emit("run_finished", RunFinished(0, 1, 11, 1.0))
    out = io.StringIO()
    watch(plan, store, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert lines[0] == "failed pretrain byol · none · seed 0 (2 cells need it): the loss is nan"
    assert lines[-1].endswith(": 1 of 12 stages, 1 failed")
    part = Plan("bench", {first.key: first}, cells[:1])
    out = io.StringIO()
    watch(part, store, Console(file=out, width=80))
    assert "not in this plan: 11 stages of the run: pass the --profile" in out.getvalue()
    store.progress.write_text('{"at": 0}')
    with pytest.raises(UsageError, match=r"progress\.json: cannot be read"):
        look(plan, store)


def test_a_run_that_was_killed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages, cells = matrix()
    store = Store(tmp_path / "store")
    store.prepare()
    registry = Registry()
    monkeypatch.setattr("backbench.report.progress.displays.os.getpid", lambda: 2**22 + 1)
    with attach_status(registry, store):
        registry.emit("run_started", RunStarted("bench", (*stages.values(),), 0, 2, (), cells))
    assert "the run was killed" in look(Plan("bench", stages, cells), store).end


def test_a_full_disk_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("backbench.report.progress.displays.files.write", full)
    registry = Registry()
    with attach_status(registry, Store(tmp_path / "store")):
        registry.emit("run_started", RunStarted("bench", (), 0, 2))
    assert registry.failures == []


# -- heat maps -------------------------------------------------------------------------------


def shown(width: int, *, terminal: bool, attacks: tuple[str, ...] = ATTACKS) -> list[str]:
    stages, cells = matrix(attacks)
    asr = {cell.path[1]: at / len(cells) for at, cell in enumerate(cells)}
    records = {key: record(key, metrics={"asr": value}) for key, value in asr.items()}
    out = io.StringIO()
    system: Any = "truecolor" if terminal else None
    console = Console(file=out, width=width, force_terminal=terminal, color_system=system)
    print_map(board(Plan("bench", stages, cells), records), "asr", console)
    return out.getvalue().splitlines()


def test_a_heat_map_has_methods_by_attacks() -> None:
    lines = shown(80, terminal=False)
    assert lines[0] == "bench · ASR · dataset drawn · evaluator linear"
    assert lines[1].split() == ["none", "patch-targeted"]
    assert lines[2].split() == ["byol", ".000", "░", ".250"]
    assert lines[3].split() == ["rotnet", "▒", ".500", "▓", ".750"]
    assert lines[-1].endswith("1.000; means over seeds")


def test_a_heat_map_that_is_too_wide_has_letters_and_a_key() -> None:
    attacks = tuple(f"a-long-name-{at}" for at in range(12))
    lines = shown(60, terminal=True, attacks=attacks)
    assert any("a a-long-name-0  b a-long-name-1" in line for line in lines)
    assert any("\x1b[30;48;2;" in line for line in lines)  # black on a light color


def test_a_heat_map_of_what_no_row_has_is_refused() -> None:
    empty = Leaderboard("bench", (), ())
    with pytest.raises(UsageError, match="--map asr: no finished row has this metric"):
        print_map(empty, "asr", Console())
