"""Registry of plugins: they are found, checked, and named in errors.

Entry points are loaded one by one: a plugin that cannot be loaded is remembered with its
distribution and reason, and stops only the benchmark that needs it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import pluggy

from backbench.errors import BackbenchError, PluginError
from backbench.options import backbones
from backbench.options.base import Options
from backbench.plugin import hookspecs
from backbench.plugin.announcements import field_problem, record_problem
from backbench.plugin.calling import all_of, frozen, plugin_code
from backbench.plugin.infos import KINDS, BackboneInfo, Column, PluginInfo
from backbench.plugin.packages import (
    GROUP,
    Failure,
    Origin,
    code_of,
    installed_points,
    origin_of,
)
from backbench.plugin.suggestions import suggestion
from backbench.system.files import content_of
from backbench.system.json_text import to_json

if TYPE_CHECKING:
    import click

#: Key of the content of files in the identity of options: no option has such a name.
FILES = "content of files"


@dataclass(frozen=True, slots=True)
class Registered:
    """An info record and where it comes from."""

    info: PluginInfo
    origin: Origin

    def implementation(self) -> type[Any]:
        """Import the class that the record points at.

        Raises:
            PluginError: If it cannot be imported.
        """
        found = self._imported()
        if not isinstance(found, type):
            raise PluginError(f"{self}: {self.info.target} is not a class")
        return found

    def function(self) -> Callable[..., Any]:
        """Import the function that the record of a metric points at.

        Raises:
            PluginError: If it cannot be imported.
        """
        found = self._imported()
        if isinstance(found, type) or not callable(found):
            raise PluginError(f"{self}: {self.info.target} is not a function")
        made: Callable[..., Any] = found
        return made

    def identity(self, options: Options) -> dict[str, Any]:
        """Return what of options enters a stage's key, with the content of their files.

        A dataset states its content itself.

        Raises:
            PluginError: If a file cannot be read.
        """
        identity = options.identity()
        try:
            to_json(identity)
        except BackbenchError as error:
            raise PluginError(f"{self}: what of its options enters a key: {error}") from error
        if self.info.kind == "dataset":
            return identity
        found = {}
        for name, path in options.files().items():
            try:
                found[name] = content_of(path)
            except OSError as error:
                raise PluginError(f"{self}: {name}: {path}: {error.strerror}") from error
        return {**identity, FILES: found} if found else identity

    @property
    def code(self) -> str:
        """SHA-256 of the code of the packages that its class and options are in."""
        modules = {self.info.target.partition(":")[0], self.info.options.__module__}
        packages = {module.partition(".")[0] for module in modules} - {"backbench"}
        return " ".join(code_of(package)[:16] for package in sorted(packages))

    def __str__(self) -> str:
        return f"{self.info.kind} {self.info.name!r} of {self.origin}"

    def _imported(self) -> object:
        module, _, name = self.info.target.partition(":")
        try:
            with plugin_code():
                return getattr(importlib.import_module(module), name)
        except PluginError as error:
            raise PluginError(f"{self}: cannot import {self.info.target} ({error})") from error


class Registry:
    """The plugins that were found.

    Attributes:
        failures: What could not be used, and why.
        manager: The bus; observers register here.
    """

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs.BackbenchHooks)
        self.failures: list[Failure] = []
        self._found: dict[str, dict[str, list[Registered]]] = {kind: {} for kind in KINDS}
        self._origins: dict[str, Origin] = {}
        self._returned = 0
        self._reported: set[tuple[str, str]] = set()

    def add_entry_points(self, points: Iterable[EntryPoint]) -> None:
        """Load entry points one by one, then collect what they announce."""
        seen: set[tuple[str, str, str]] = set()
        known = [(origin_of(point), point) for point in points]
        for origin, point in sorted(known, key=lambda one: (one[0].distribution, one[1].name)):
            identity = (origin.distribution, point.name, point.value)
            if identity in seen:  # an editable install may be listed twice
                continue
            seen.add(identity)
            try:
                with plugin_code():
                    module = point.load()
            except BackbenchError as error:
                self._fail(origin, f"cannot be loaded ({error})")
            else:
                self.add(module, origin)

    def add(self, plugin: object, origin: Origin) -> None:
        """Register one plugin module or object and collect what it announces."""
        name = f"{origin.distribution}:{origin.entry_point}"
        before = self.manager.get_name(plugin)
        if before is not None:
            self._fail(origin, f"is the same object as {before!r}, which is already there")
            return
        try:
            self.manager.register(plugin, name=name)
        except (ValueError, pluggy.PluginValidationError) as error:
            if self.manager.get_plugin(name) is not None:
                self.manager.unregister(name=name)
            self._fail(origin, str(error))
            return
        callers = self.manager.get_hookcallers(plugin) or []
        if not callers:
            self._fail(origin, "implements no hook: is @backbench.plugin.hookimpl missing?")
        unknown = [caller.name for caller in callers if not caller.has_spec()]
        if unknown:
            self.manager.unregister(plugin)
            known = [hook for hook in dir(hookspecs.BackbenchHooks) if not hook.startswith("_")]
            for hook in unknown:
                self._fail(origin, f"there is no hook {hook!r}{suggestion(hook, known)}")
            return
        self._origins[name] = origin
        for kind in KINDS:
            for record in self._call(name, f"register_{kind.replace('-', '_')}s"):
                self._add_record(kind, record, origin)

    def find(self, kind: str, name: str) -> Registered:
        """Return a plugin by name.

        Raises:
            PluginError: If there is none, or more than one.
        """
        found = self._found[kind].get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            owners = " and ".join(str(one.origin) for one in found)
            raise PluginError(f"{kind} {name!r} is provided twice, by {owners}: uninstall one")
        broken = "".join(f"; {failure}" for failure in self.failures)
        raise PluginError(
            f"no {kind} is called {name!r}{suggestion(name, self.names(kind))}{broken}"
        )

    def unreported(self) -> list[Failure]:
        """Return the failures that it has not returned before."""
        since, self._returned = self._returned, len(self.failures)
        return self.failures[since:]

    def names(self, kind: str) -> list[str]:
        """Return the names of one kind of plugin, sorted."""
        return sorted(self._found[kind])

    def all(self) -> list[Registered]:
        """Return every record, by kind and name; doubles included."""
        return [
            one for kind in KINDS for name in self.names(kind) for one in self._found[kind][name]
        ]

    def columns(self) -> list[Column]:
        """Return the leaderboard columns that plugins add."""
        found = []
        for name, origin in self._origins.items():
            for column in self._call(name, "leaderboard_columns"):
                problem = field_problem(column)
                if not isinstance(column, Column) or problem:
                    self._fail(origin, f"announces the column {column!r}: {problem or 'no Column'}")
                else:
                    found.append(column)
        return found

    def add_commands(self, cli: click.Group, taken: Collection[str] = ()) -> None:
        """Let every plugin add its commands to the root group.

        A command whose name is taken, or which another plugin has added, is left out and reported.
        """
        for name, origin in self._origins.items():
            before = dict(cli.commands)
            self._call(name, "add_commands", cli)
            for command, added in tuple(cli.commands.items()):
                earlier = before.get(command)
                if command in taken or (earlier and earlier is not added):
                    del cli.commands[command]
                    if earlier:
                        cli.commands[command] = earlier
                    self._fail(origin, f"its command {command!r} is already there: rename it")

    def observed(self, hook: str) -> bool:
        """Return whether an observer waits for an event."""
        return bool(getattr(self.manager.hook, hook).get_hookimpls())

    def emit(self, hook: str, event: object) -> None:
        """Hand an event to every observer; one that raises is reported, once, and stops nothing.

        No part of the event can be changed.
        """
        event = frozen(event)
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            name = implementation.plugin_name
            try:
                with plugin_code(hook):
                    implementation.function(*([event] if implementation.argnames else []))
            except BackbenchError as error:
                if (name, hook) not in self._reported:
                    self._reported.add((name, hook))
                    self._fail(self._origins.get(name, Origin("?", "", name)), str(error))

    def _call(self, plugin_name: str, hook: str, *arguments: object) -> list[Any]:
        origin = self._origins[plugin_name]
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            if implementation.plugin_name == plugin_name:
                function: Callable[..., Iterable[Any] | None] = implementation.function
                try:
                    with plugin_code(hook):
                        return all_of(
                            function(*arguments[: len(implementation.argnames)]) or (), hook
                        )
                except BackbenchError as error:
                    self._fail(origin, str(error))
        return []

    def _add_record(self, kind: str, record: object, origin: Origin) -> None:
        problem = record_problem(KINDS[kind], record)
        if problem or not isinstance(record, PluginInfo):
            self._fail(origin, str(problem))
            return
        same = self._found[kind].setdefault(record.name, [])
        same.append(Registered(record, origin))
        if len(same) == 2:
            self._fail(origin, f"{kind} {record.name!r} is already provided by {same[0].origin}")
        if kind == BackboneInfo.kind:
            backbones.announce(record.name, functools.partial(self._backbone, record.name))

    def _backbone(self, name: str) -> backbones.PluginBackbone:
        """Return what the options of a training need to know of a backbone."""
        found = self.find(BackboneInfo.kind, name)
        return backbones.PluginBackbone(
            name=name,
            distribution=found.origin.distribution,
            revision=found.info.revision,
            options=found.info.options,
            load=found.implementation,
        )

    def _fail(self, origin: Origin, reason: str) -> None:
        self.failures.append(Failure(origin, " ".join(reason.split())))


def load_registry() -> Registry:
    """Find every installed plugin."""
    registry = Registry()
    registry.add_entry_points(installed_points(registry.failures))
    return registry
