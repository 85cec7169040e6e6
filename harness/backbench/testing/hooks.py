"""Contracts of what an entry point implements besides records: observers, columns, commands."""

from __future__ import annotations

import contextlib
import io
import os
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from backbench import plugin
from backbench.model import Axis, Stage, StageKind
from backbench.plugin import Column, MetricInfo
from backbench.plugin.calling import frozen
from backbench.plugin.infos import OWN_METRICS
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry
from backbench.plugin.suggestions import suggestion
from backbench.results.leaderboard import LIFTS
from backbench.testing.base import Contract, PluginContract, assert_light, installed
from backbench.testing.purity import global_generators_untouched

_STAGE = Stage(StageKind.PRETRAIN, None, 0, label="pretrain a-method on a-dataset, seed 0")

#: The events of a run: of a stage that ends, and of a stage that fails.
_EVENTS: tuple[tuple[str, object], ...] = (
    ("run_started", plugin.RunStarted("a-benchmark", (_STAGE, _STAGE), cached=1, slots=2)),
    ("stage_started", plugin.StageStarted(_STAGE)),
    ("stage_progress", plugin.StageProgress(_STAGE, 0, 0)),
    ("stage_progress", plugin.StageProgress(_STAGE, 5, 10, {"loss": 1.5, "lr": 0.1})),
    ("stage_finished", plugin.StageFinished(_STAGE, 0.0)),
    ("stage_started", plugin.StageStarted(_STAGE)),
    ("stage_failed", plugin.StageFailed(_STAGE, "the disk is full")),
    ("run_finished", plugin.RunFinished(1, 1, 0, wall_s=2.5)),
    ("run_finished", plugin.RunFinished(0, 0, 0, wall_s=0.0, interrupted=True)),
    (
        "results_ready",
        plugin.ResultsReady(
            "a-benchmark",
            (
                {
                    **{axis.value: "none" for axis in Axis},
                    "method": "a-method",
                    "protocol": "",
                    "metric": "accuracy/clean",
                    "n": 1,
                    "mean": 0.5,
                    **dict.fromkeys(("std", "ci95_low", "ci95_high", "control", "lift")),
                    "complete": True,
                    "external": False,
                    "origin": "",
                    "outdated": "",
                },
            ),
            {"leaderboard.md": "| a |", "leaderboard.csv": "a"},
            {"square.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>"},
        ),
    ),
)


class _HooksContract(Contract):
    """Common contract of the hooks that are no records.

    Attributes:
        plugin: The module, or the object, that the entry point names.
    """

    plugin: Any

    def hook(self, name: str) -> Callable[..., Any] | None:
        """Return the plugin's implementation of a hook, if it has one."""
        found: Callable[..., Any] | None = getattr(self.plugin, name, None)
        return found if hasattr(found, "backbench_impl") else None

    def call(self, name: str, *given: object) -> Any:
        """Call a hook with as many arguments as it takes, as the bus does."""
        function = self.hook(name)
        if function is None:
            return None
        wanted = function.__code__.co_argcount - isinstance(function, types.MethodType)
        shown = given[:wanted]
        with quiet(name):
            return self.guarded(name, lambda: function(*shown))

    def test_is_named_by_an_installed_entry_point(self) -> None:
        assert installed().manager.is_registered(self.plugin), (
            "install the distribution: its entry point must name this module or object"
        )

    def test_its_module_does_not_import_torch(self) -> None:
        """``backbench --help`` imports it: it must be light."""
        if isinstance(self.plugin, types.ModuleType):
            assert_light(self.plugin.__name__)

    def test_the_registry_takes_it(self) -> None:
        """Each hook has a name and arguments that there are."""
        registry = Registry()
        registry.add(self.plugin, Origin("the contract", "", ""))
        assert not registry.failures, f"mend the plugin: {registry.failures[0].reason}"


class ObserverContract(_HooksContract):
    """Of an observer of runs: subclass it, and set ``plugin``.

    It sees two runs in one process, of a stage that ends and a stage that fails.
    """

    def observe(self) -> None:
        """Hand the events of a run to the observer."""
        for hook, event in _EVENTS:
            self.call(hook, frozen(event))

    def test_it_observes_something(self) -> None:
        known = {hook for hook, _ in _EVENTS}
        assert any(map(self.hook, known)), (
            f"implement a hook of an event with @backbench.plugin.hookimpl: {', '.join(known)}"
        )

    def test_it_takes_the_events_of_two_runs(self) -> None:
        """No part of an event can be changed, and values may be missing."""
        self.observe()
        self.observe()

    def test_it_leaves_the_process_as_it_is(self) -> None:
        """Stages may run in this process: they read its generators, folder and variables."""
        before = dict(os.environ), os.getcwd()  # noqa: PTH109 - compared, not used
        with global_generators_untouched():
            self.observe()
        after = dict(os.environ), os.getcwd()  # noqa: PTH109
        assert after == before, "leave the working directory and the environment as they are"


class NamedObserverContract(PluginContract):
    """Of an observer that a benchmark names: subclass it, and set ``info`` and ``options``.

    It sees the events of a run as the harness sends them, in an empty current folder.
    """

    base = "Observer"

    def observe(self, folder: Path) -> None:
        """Hand the events of a run, and of one after that, to an observer; close it."""
        with contextlib.chdir(folder), quiet("an observer"):
            made = self.guarded("making it", lambda: self.implementation()(self.settings()))
            for hook, event in _EVENTS:
                self.guarded(hook, partial(getattr(made, hook), frozen(event)))
            self.guarded("close", made.close)

    def test_it_observes_something(self) -> None:
        known = {hook for hook, _ in _EVENTS}
        found = self.implementation()
        own = [one for one in known if getattr(found, one) is not getattr(plugin.Observer, one)]
        assert own, f"override a method of Observer: {', '.join(sorted(known))}"

    def test_it_takes_the_events_of_two_runs(self, tmp_path: Path) -> None:
        """Another observer of the same options can follow it, as in a notebook."""
        self.observe(tmp_path)
        self.observe(tmp_path)

    def test_it_takes_results_without_a_run(self, tmp_path: Path) -> None:
        """All stages may be in the store."""
        hook, event = _EVENTS[-1]
        with contextlib.chdir(tmp_path), quiet(hook):
            made = self.guarded("making it", lambda: self.implementation()(self.settings()))
            self.guarded(hook, partial(getattr(made, hook), frozen(event)))
            self.guarded("close", made.close)

    def test_it_leaves_the_process_as_it_is(self, tmp_path: Path) -> None:
        """Stages may run in this process: they read its generators and variables."""
        self.implementation()  # what an import sets is set once
        before = dict(os.environ)
        with global_generators_untouched():
            self.observe(tmp_path)
        assert dict(os.environ) == before, "leave the environment as it is"


class ColumnContract(_HooksContract):
    """Of columns of the leaderboard: subclass it, and set ``plugin``."""

    def columns(self) -> list[Any]:
        """Return the columns that the plugin announces."""
        return list(self.call("leaderboard_columns") or ())

    def test_it_announces_columns(self) -> None:
        found = self.columns()
        assert found, "yield a backbench.plugin.Column from leaderboard_columns"
        registry = Registry()
        registry.add(self.plugin, Origin("the contract", "", ""))
        registry.columns()
        assert not registry.failures, f"mend the column: {registry.failures[0].reason}"

    def test_metrics_are_known(self) -> None:
        """A column of a metric that no row has would be empty in every table."""
        own = [info.name for info in self.call("register_metrics") or ()]
        known = [*OWN_METRICS, *LIFTS, *installed().names(MetricInfo.kind), *own]
        for column in self.columns():
            metric = column.metric
            assert metric in known, (
                f"name a metric that rows have, not {metric!r}{suggestion(metric, known)}"
            )

    def test_headings_are_short(self) -> None:
        for column in self.columns():
            title = column.title
            assert title.strip() and "\n" not in title, (  # noqa: PT018
                f"give the column {column.metric!r} a heading of one line, not {title!r}"
            )

    def test_digits_can_be_shown(self) -> None:
        for column in self.columns():
            assert isinstance(column, Column), f"yield a Column, not a {type(column).__name__}"
            assert 0 <= column.decimals <= 9, (
                f"show 0 to 9 digits of {column.metric!r}, not {column.decimals}"
            )


class CommandContract(_HooksContract):
    """Of commands: subclass it, and set ``plugin``."""

    def added(self) -> dict[str, click.Command]:
        """Return the commands that the plugin adds to an empty group."""
        group = click.Group("backbench")
        self.call("add_commands", group)
        return dict(group.commands)

    def test_it_adds_commands(self) -> None:
        assert self.added(), "add a command to the group that add_commands is given"

    def test_names_are_new(self) -> None:
        """A built-in command of the same name would be run in its place."""
        from backbench.cli.root import COMMANDS

        taken = sorted({*COMMANDS} & {*self.added()})
        assert not taken, f"give the command {taken and taken[0]!r} another name: it is built in"

    def test_each_has_a_line_of_help(self) -> None:
        for name, command in self.added().items():
            assert command.get_short_help_str(), f"give the command {name!r} a help text"

    def test_help_can_be_shown(self) -> None:
        for name, command in self.added().items():
            shown = CliRunner().invoke(command, ["--help"])
            assert shown.exit_code == 0, f"let {name} --help end with 0, not {shown.exit_code}"


@contextmanager
def quiet(step: str) -> Iterator[None]:
    """Assert that nothing is printed to stdout, which belongs to the command."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        yield
    text = printed.getvalue()
    assert not text, f"{step} must not print {text[:60]!r}: log it, or write to stderr"
