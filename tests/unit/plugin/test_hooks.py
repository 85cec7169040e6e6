"""Observers, executors, columns and commands of a broken plugin do not stop those of others."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict

import click
import pytest
from tests.unit.plugin.conftest import only_failure

from backbench.model import PluginUse, Stage, StageKind
from backbench.plugin.calling import frozen
from backbench.plugin.events import RunFinished, RunStarted, StageFinished, StageProgress
from backbench.plugin.registry import load_registry

OBSERVER = """
seen = []

@hookimpl
def run_started(event):
    seen.append(event)
    raise RuntimeError("no space left")

@hookimpl
def run_finished():
    seen.append("finished")
"""


def test_an_observer_that_raises_is_reported_once_and_goes_no_further(install):
    import importlib

    first = install("acme-checker", OBSERVER)
    second = install("zenith-checker", OBSERVER.replace('raise RuntimeError("no space left")', ""))
    registry = load_registry()
    event = RunStarted("b", (), 0, 1)
    registry.emit("run_started", event)
    registry.emit("run_started", event)
    registry.emit("run_finished", RunFinished(1, 0, 0, 0.0))
    for module in (first, second):
        assert importlib.import_module(module).seen == [event, event, "finished"]
    text = only_failure(registry)
    assert "acme-checker 1.2: run_started raised RuntimeError: no space left" in text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit(1)", "stage_finished raised SystemExit: 1"),
        ("raise asyncio.CancelledError('c')", "stage_finished raised CancelledError: c"),
        ("raise Mute", "stage_finished raised Mute"),
        ("event.stage.inputs['a'] = 'b'", "raised TypeError: this dict is read-only"),
        ("event.stage.plugin.options['views'].clear()", "raised TypeError: this dict is read-only"),
        ("event.stage.plugin.options['widths'].append(3)", "raised AttributeError: 'tuple'"),
        ("event.stage.seed = 3", "raised FrozenInstanceError"),
    ],
)
def test_an_observer_can_neither_end_a_run_nor_change_what_others_see(install, body, reason):
    install(
        "acme-checker",
        f"""
        import asyncio, sys

        class Mute(BaseException):
            def __str__(self):
                raise ValueError

        @hookimpl
        def stage_finished(event):
            {body}
        """,
    )
    install("zenith", OBSERVER.replace("run_finished()", "stage_finished(event)"))
    options = {"views": {"size": 32}, "widths": [1, 2]}
    use = PluginUse("ssl-method", "m", "d", 1, options, options)
    event = StageFinished(Stage(StageKind.PRETRAIN, use, 0, inputs={"dataset": "0"}), 1.0)
    before = copy.deepcopy(event)
    registry = load_registry()
    registry.emit("stage_finished", event)
    registry.emit("stage_finished", event)
    assert event == before
    assert reason in only_failure(registry)


def test_an_event_is_written_as_json_and_copied_like_any_other():
    shown = frozen(StageProgress(Stage(StageKind.FIT, None, 0, inputs={"a": "b"}), 1, 2, {"x": 1}))
    assert json.loads(json.dumps(shown.values)) == {"x": 1}
    assert asdict(shown)["stage"]["inputs"] == {"a": "b"}
    writable = copy.deepcopy(shown.values)
    writable["x"] = 2
    assert shown.values == {"x": 1}
    for change in (shown.values.update, shown.values.setdefault, shown.values.__ior__):
        with pytest.raises(TypeError, match="read-only"):
            change({"x": 3})


def test_an_executor_that_cannot_be_made_is_named(install, bench, tiny_file):
    install(
        "acme-checker",
        """
        class Breaks:
            def __init__(self, *_):
                raise KeyError("queue")

        @hookimpl
        def register_executors():
            yield ExecutorInfo(name="breaks", summary="B.", target=f"{__name__}:Breaks")
        """,
    )
    done = bench("run", str(tiny_file), "--executor", "breaks")
    assert done.code == 2
    assert "executor 'breaks' of acme-checker 1.2 raised KeyError: 'queue'" in done.err
    assert "Traceback" not in done.err


def test_columns_and_commands_of_a_broken_plugin_do_not_stop_those_of_others(install):
    code = """
    import click

    @hookimpl
    def leaderboard_columns():
        yield Column("asr/top5", "ASR 5", best="low")

    @hookimpl
    def add_commands(cli):
        cli.add_command(click.Command("hello"))
    """
    install("acme-checker", code.replace("Column(", "int(").replace("click.Command", "int"))
    install("zenith-checker", code)
    registry = load_registry()
    cli = click.Group()
    registry.add_commands(cli)
    assert [column.title for column in registry.columns()] == ["ASR 5"]
    assert list(cli.commands) == ["hello"]
    assert {failure.origin.distribution for failure in registry.failures} == {"acme-checker"}
    assert len(registry.failures) == 2
