"""Ctrl-C of the user, and a KeyboardInterrupt of a plugin's own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from backbench.errors import PluginError
from backbench.execution.scheduler import execute
from backbench.execution.serial import run_guarded
from backbench.model import Plan, Stage, StageKind
from backbench.plugin.calling import plugin_code
from backbench.plugin.executor import Executor, Setup
from backbench.plugin.registry import load_registry
from backbench.store.store import Store
from backbench.system.interrupts import STOPS, is_users, listening, listening_to_end


@pytest.fixture(autouse=True)
def _answers_as_in_a_terminal():
    """Give signals the answers of a shell's foreground: its background jobs ignore Ctrl-C."""
    defaults = {signal.SIGINT: signal.default_int_handler} | dict.fromkeys(STOPS, signal.SIG_DFL)
    before = {number: signal.signal(number, answer) for number, answer in defaults.items()}
    yield
    for number, answer in before.items():
        signal.signal(number, answer)


def test_a_plugins_own_keyboard_interrupt_is_a_sentence():
    with (
        listening(),
        pytest.raises(PluginError, match="the attack raised KeyboardInterrupt"),
        plugin_code("the attack"),
    ):
        raise KeyboardInterrupt


@pytest.mark.parametrize("number", [signal.SIGINT, *STOPS])
def test_a_signal_of_the_user_passes_through_plugin_code(number):
    with listening(*STOPS), pytest.raises(KeyboardInterrupt), plugin_code("the attack"):
        signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, *STOPS])
def test_a_command_that_is_stopped_can_still_tidy_up(number):
    with pytest.raises(KeyboardInterrupt), listening_to_end():
        signal.raise_signal(number)


def test_where_nobody_listens_it_may_be_the_users():
    assert is_users(KeyboardInterrupt())
    with listening():
        assert not is_users(KeyboardInterrupt())
        assert not is_users(SystemExit())


def test_where_ctrl_c_is_ignored_it_is_a_plugins():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with listening(*STOPS):
        assert not is_users(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(STOPS[0])
        assert is_users(caught.value)


@pytest.mark.parametrize("answer", [signal.SIG_IGN, lambda *_: None])
@pytest.mark.parametrize("number", [signal.SIGINT, *STOPS])
def test_the_answer_of_a_caller_stays(number, answer):
    before = signal.signal(number, answer)
    try:
        with listening(*STOPS):
            assert signal.getsignal(number) is answer
    finally:
        signal.signal(number, before)


def test_a_stage_whose_plugin_raises_it_fails_alone(tmp_path, monkeypatch):
    def interrupt(*_args, **_named):
        raise KeyboardInterrupt("words")

    monkeypatch.setattr("backbench.execution.serial.run_stage", interrupt)
    stage = Stage(StageKind.FEATURES, None, None)
    with listening():
        ended = run_guarded(stage, Store(tmp_path), load_registry(), "cpu", lambda *_: None)
    assert ended.reason == "KeyboardInterrupt: words"


class Interrupting(Executor):
    slots = 1

    def submit(self, stage): ...

    def wait(self):
        raise KeyboardInterrupt


def test_an_executor_that_raises_it_is_a_sentence(tmp_path):
    store = Store(tmp_path / "store")
    store.prepare()
    stage = Stage(StageKind.FEATURES, None, None)
    plan = Plan("b", {stage.key: stage}, ())
    with listening(), pytest.raises(PluginError, match="Interrupting raised KeyboardInterrupt"):
        execute(plan, store, lambda: Interrupting(None, Setup(store.root)), lambda *_: None)


ENDING = """
import atexit, signal
from backbench.system.interrupts import listening_to_end

signal.signal(signal.SIGINT, signal.{answer})
atexit.register(lambda: print(signal.getsignal(signal.SIGINT).name))
with listening_to_end():
    pass
"""


@pytest.mark.parametrize(
    ("answer", "at_the_end"), [("SIG_IGN", "SIG_IGN"), ("default_int_handler", "SIG_DFL")]
)
def test_a_command_that_ignores_ctrl_c_does_so_to_its_end(answer, at_the_end):
    done = subprocess.run(
        [sys.executable, "-c", ENDING.format(answer=answer)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{at_the_end}\n", "")
