"""Contract of every plugin that an info record announces."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from backbench import plugin
from backbench.errors import PluginError
from backbench.plugin import DatasetMetadata, PluginInfo
from backbench.plugin.calling import sentence_of
from backbench.plugin.packages import GROUP, Origin
from backbench.plugin.registry import Registered, Registry, load_registry
from backbench.system.arithmetic import standard_arithmetic
from backbench.system.json_text import from_json, to_json
from backbench.testing.samples import METADATA

T = TypeVar("T")


class Contract:
    """Base of all contracts; subclass the contract of your kind instead."""

    @pytest.fixture(autouse=True)
    def _standard_arithmetic(self) -> Iterator[None]:
        with standard_arithmetic():
            yield

    def guarded(self, step: str, make: Callable[[], T]) -> T:
        """Do a step that many tests of a class need.

        If it raises, one test fails with the sentence of the error, and the others, which would
        fail for the same reason, are skipped.
        """
        failed = _FAILED.setdefault(type(self), set())
        if step in failed:
            pytest.skip(f"{step} has failed in another test of {type(self).__name__}")
        try:
            return make()
        except (Exception, SystemExit) as error:
            failed.add(step)
            if isinstance(error, AssertionError):
                raise
            if "read-only" in str(error):
                raise AssertionError(f"{step} must not change its input: copy it first") from error
            raise AssertionError(f"{step} must not raise {sentence_of(error)}") from error


#: Steps that have failed, by contract.
_FAILED: WeakKeyDictionary[type[Contract], set[str]] = WeakKeyDictionary()


class PluginContract(Contract):
    """Contract of plugins of all kinds; subclass the contract of your kind instead.

    Attributes:
        base: Name in :mod:`backbench.plugin` of the class that the implementation derives from.
        info: The record that the plugin announces.
        options: Small settings, as a benchmark file would give them.
        metadata: The dataset that the settings are for.
    """

    base: ClassVar[str]
    info: ClassVar[PluginInfo]
    options: Mapping[str, Any] = {}
    metadata: DatasetMetadata = METADATA

    def values(self) -> dict[str, Any]:
        """Return the values of the options that are tested."""
        return dict(self.options)

    def settings(self) -> Any:
        """Return the validated options."""
        return self.guarded(
            f"{self.info.options.__name__} with the contract's options",
            lambda: self.info.options.model_validate(self.values()),
        )

    def implementation(self) -> type[Any]:
        """Import the class that the record points at."""
        registered = Registered(self.info, Origin("", "", ""))
        return self.guarded(f"importing {self.info.target}", registered.implementation)

    def of_stage(self) -> tuple[type[Any], Any, PluginInfo]:
        """Return class, options and record of the plugin of the stage that the kit runs."""
        return self.implementation(), self.settings(), self.info

    def guard_of_stage(self) -> tuple[type[Any], Any, PluginInfo] | None:
        """Return the same of the defense that wraps a training's method; ``None`` without."""
        return None

    def registered(self) -> Registered:
        """Return the plugin of this name that is installed."""

        def find() -> Registered:
            try:
                return installed().find(self.info.kind, self.info.name)
            except PluginError as error:
                raise AssertionError(
                    f"install the distribution that is tested, as by `pip install -e .`: {error}"
                ) from error

        return self.guarded("the search for the installed plugin", find)

    # -- the record ---------------------------------------------------------------------------

    def test_is_announced_by_an_installed_entry_point(self) -> None:
        """The registry finds this record, and no problem with its distribution."""
        found = self.registered()
        assert found.info == self.info, (
            f"{found} announces another record: install the distribution that is tested"
        )
        owner = found.origin.distribution
        wrong = [one for one in installed().failures if one.origin.distribution == owner]
        assert not wrong, f"{wrong[0]}: mend it"

    def test_announcing_does_not_import_torch(self) -> None:
        """``backbench --help`` imports the announcing module: it must be light."""
        origin = self.registered().origin
        modules = {
            point.module
            for point in entry_points(group=GROUP, name=origin.entry_point)
            if point.dist is not None and point.dist.name == origin.distribution
        }
        for module in modules:
            assert_light(module)

    def test_the_registry_takes_the_record(self) -> None:
        """Its fields have the types, and its name the form, that the registry requires."""
        registry = Registry()
        registry.add(_Announces(self.info), Origin("the contract", "", ""))
        assert not registry.failures, f"{registry.failures[0].reason}: mend the record"

    def test_summary_is_one_line_that_ends_with_a_full_stop(self) -> None:
        summary = self.info.summary
        assert summary.endswith("."), f"end the summary with a full stop: {summary!r}"
        assert "\n" not in summary, f"write the summary in one line: {summary!r}"

    def test_target_is_a_class_of_its_kind(self) -> None:
        """The class that the record names exists, and has no abstract method left."""
        found, base = self.implementation(), getattr(plugin, self.base)
        assert issubclass(found, base), (
            f"derive {found.__name__} from backbench.plugin.{self.base}, or name another class"
        )
        left = sorted(getattr(found, "__abstractmethods__", ()))
        assert not left, f"implement {', '.join(left)} of {found.__name__}"

    # -- the options --------------------------------------------------------------------------

    def test_every_option_has_a_description(self) -> None:
        """``backbench plugins show`` documents every option, nested ones too."""
        silent = [name for name, text in descriptions(self.info.options) if not text]
        assert not silent, f"give a Field(description=…) to the options {', '.join(silent)}"

    def test_defaults_are_valid(self) -> None:
        """A benchmark file may give a default: pydantic itself need not check it."""
        for name, field in self.info.options.model_fields.items():
            default = field.default
            if default is not PydanticUndefined and not field.validate_default:
                given = default.model_dump() if isinstance(default, BaseModel) else default
                wrong = _problems_of(self.info.options, {name: given}, name)
                assert not wrong, f"give {name} a valid default: {default!r} is refused ({wrong})"

    def test_options_survive_json(self) -> None:
        """A stage's record holds the options as JSON; a worker reads them from there."""
        settings = self.settings()
        stored = self.guarded(
            f"{self.info.options.__name__} as JSON",
            lambda: from_json(to_json(settings.model_dump(mode="json"))),
        )
        again = self.guarded(
            f"{self.info.options.__name__} of its own JSON",
            lambda: self.info.options.model_validate(stored),
        )
        assert again == settings, (
            f"read the options as they are written: {again!r} is made of the JSON of {settings!r}"
        )

    def test_unknown_options_are_refused(self) -> None:
        wrong = _problems_of(self.info.options, {"no_such_option_": 1}, "no_such_option_")
        assert wrong, "refuse unknown options: keep the model_config of backbench.plugin.Options"

    def test_settings_fit_the_dataset(self) -> None:
        problems = self.guarded("problems", lambda: list(self.settings().problems(self.metadata)))
        assert not problems, f"set `options` or `metadata` of the contract so that {problems[0]}"

    def test_presets_are_valid(self) -> None:
        """Every preset is valid, if need be with the options that this contract gives."""
        for name, values in self.info.presets.items():
            try:
                self.info.options.model_validate(dict(values))
            except ValidationError:
                wrong = _problem_of(self.info.options, {**self.options, **values})
                assert not wrong, f"mend the preset {name!r}: {wrong}"


class _Announces:
    """A plugin that announces one record."""

    def __init__(self, info: PluginInfo) -> None:
        hook = f"register_{info.kind.replace('-', '_')}s"
        setattr(self, hook, plugin.hookimpl(lambda: [info]))


@functools.cache
def installed() -> Registry:
    """Return the registry of what is installed."""
    return load_registry()


@functools.cache
def assert_light(module: str) -> None:
    """Assert that importing a module, in a fresh process, neither imports torch nor prints."""
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run(  # noqa: S603 - our own interpreter, a module's name
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    heavy = f"import torch inside functions: importing {module} imports it"
    assert done.returncode == 0, done.stderr or heavy
    assert not done.stdout, f"print nothing when {module} is imported: {done.stdout[:200]!r}"


def descriptions(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name of every option and its description."""
    for name, field in model.model_fields.items():
        yield prefix + name, field.description or ""
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from descriptions(inner, f"{prefix}{name}.")


def _problem_of(model: type[BaseModel], values: Mapping[str, Any]) -> str:
    """Return the first problem of values with a model; empty if there is none."""
    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return ""


def _problems_of(model: type[BaseModel], values: Mapping[str, Any], name: str) -> str:
    """Return the first problem of one option, whatever other options lack; empty if none."""
    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        return next((one["msg"] for one in error.errors() if one["loc"][:1] == (name,)), "")
    return ""


def checked_progress(done: int, total: int, values: Mapping[str, Any]) -> None:
    """Assert that a plugin reports its progress as numbers."""
    assert 0 <= done <= total, f"report 0 ≤ done ≤ total to progress, not {done} of {total}"
    wrong = [name for name, value in values.items() if not isinstance(value, float | int)]
    assert not wrong, f"report numbers to progress: {wrong[0]} is {values[wrong[0]]!r}"


def assert_refuses(restore: Callable[[Mapping[str, Any]], object]) -> None:
    """Assert that arrays of something else, such as a damaged artifact, are a ValueError."""
    for arrays in ({}, {"no_such_array_": np.zeros(1)}):
        refused = False
        try:
            restore(arrays)
        except ValueError:
            refused = True
        assert refused, f"raise a ValueError in restore of the arrays {sorted(arrays)}"
