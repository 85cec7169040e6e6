"""Info records, options and entry points, of an attack that is right otherwise."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from backbench.errors import PluginError
from backbench.plugin import AttackInfo, Field, Options, hookimpl
from backbench.plugin.packages import Origin
from backbench.plugin.registry import Registry
from backbench.testing import AttackContract
from tests.contract.broken import attack, broken

INFO = AttackInfo(name="square", summary="A square.", target="tests.contract.broken.attack:Right")


class Right:
    """It announces an attack."""

    info: Any = INFO

    @hookimpl
    def register_attacks(self):
        yield self.info


class Kit(AttackContract):
    __test__ = False
    sample: Any = Right

    def __init__(self) -> None:
        type(self).info = self.sample.info


def harness(kit: Kit, folder: Path) -> None:
    """Register the plugin, and import what it announces; what is reported is raised."""
    registry = Registry()
    registry.add(kit.sample(), Origin("broken", "", ""))
    if registry.failures:
        raise PluginError(registry.failures[0].reason)
    for found in registry.all():
        found.implementation()
        found.identity(found.info.options())


def imported(folder: Path, name: str, code: str) -> Registry:
    """Load an entry point of a module of some code."""
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    sys.path.insert(0, str(folder))
    try:
        registry = Registry()
        registry.add_entry_points([EntryPoint(name, name, "backbench")])
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)
    return registry


_RECORD, _TARGET = "test_the_registry_takes_the_record", "test_target_is_a_class_of_its_kind"


@broken(_RECORD, "not in kebab-case")
class NameInSnakeCase(Right):
    """Its name is in snake case."""

    info = replace(INFO, name="red_square")


@broken(_RECORD, "the name is reserved")
class NameOfNoAttack(Right):
    """Its name is the one of no attack."""

    info = replace(INFO, name="none")


@broken(_RECORD, "was made for interface 99")
class AnotherInterface(Right):
    """It was written for another interface."""

    info = replace(INFO, api=99)


@broken(_RECORD, "is not 'module:Class'")
class TargetWithADot(Right):
    """Its target has a dot where a colon is expected."""

    info = replace(INFO, target="tests.contract.broken.attack.Right")


@broken(_TARGET, "cannot import tests.contract.broken.attack:Wright")
class TargetMisspelt(Right):
    """Its target is a class that there is not."""

    info = replace(INFO, target="tests.contract.broken.attack:Wright")


@broken(_TARGET, "is not a class")
class TargetIsAFunction(Right):
    """Its target is a function."""

    info = replace(INFO, target="tests.contract.broken.attack:harness")


@broken(_TARGET)
class TargetOfAnotherKind(Right):
    """Its target is an evaluator."""

    info = replace(INFO, target="tests.contract.broken.evaluator:Right")


@broken(_RECORD, "acts_on is 'images', and must be")
class ActsOnNothing(Right):
    """It acts on what no attack acts on."""

    info = replace(INFO, acts_on="images")


@broken(_RECORD, "revision is '2'")
class RevisionAsText(Right):
    """Its revision is a text."""

    info = replace(INFO, revision="2")


@broken(_RECORD, "paper is 'Doe 2024'")
class PaperAsText(Right):
    """Its paper is a text."""

    info = replace(INFO, paper="Doe 2024")


@broken(_RECORD, "each preset must be a mapping")
class PresetOfNothing(Right):
    """Its preset has no values."""

    info = replace(INFO, presets={"small": None})


@broken("test_presets_are_valid")
class PresetOfUnknownOptions(Right):
    """Its preset sets an option that there is not."""

    info = replace(INFO, presets={"small": {"rate": 0.5}})


@broken("test_summary_is_one_line_that_ends_with_a_full_stop")
class SummaryWithoutAnEnd(Right):
    """Its summary does not end with a full stop."""

    info = replace(INFO, summary="A square")


class Undocumented(Options):
    """Options without a description."""

    width: int = 3


@broken("test_every_option_has_a_description")
class OptionWithoutADescription(Right):
    """Its option has no description."""

    info = replace(INFO, options=Undocumented)


class WrongDefault(Options):
    """Options whose default is none of their values."""

    width: int = Field(0, ge=1, description="side in pixels")


@broken("test_defaults_are_valid")
class DefaultBelowItsBound(Right):
    """The default of its option is below the option's bound."""

    info = replace(INFO, options=WrongDefault)


class Forgiving(Options):
    """Options that take whatever they are given."""

    model_config = {"extra": "ignore"}  # noqa: RUF012 - as pydantic has it


@broken("test_unknown_options_are_refused")
class TakesUnknownOptions(Right):
    """A misspelt option is passed over."""

    info = replace(INFO, options=Forgiving)


class Unbounded(Options):
    """Options that JSON does not have."""

    model_config = {"allow_inf_nan": True}  # noqa: RUF012 - as pydantic has it

    strength: float = Field(float("inf"), description="strength of the trigger")


@broken("test_options_survive_json", "enters a key")
class InfiniteOption(Right):
    """Its option is infinite."""

    info = replace(INFO, options=Unbounded)


class Never(Options):
    """Options that no dataset fits."""

    def problems(self, data):
        yield "there are too few images"


@broken("test_settings_fit_the_dataset")
class FitsNoDataset(Right):
    """Its options fit no dataset."""

    info = replace(INFO, options=Never)


class Raising(Options):
    """Options that raise where they meet a dataset."""

    def problems(self, data):
        raise IndexError(0)


@broken("test_settings_fit_the_dataset")
class RaisesAtADataset(Right):
    """Its options raise where they meet a dataset."""

    info = replace(INFO, options=Raising)


@broken(_RECORD, "options must be a subclass of")
class OptionsAsADict(Right):
    """Its options are a dict."""

    info = replace(INFO, options={"width": 3})


@broken("", "where a AttackInfo is expected")
class AnnouncesAClass(Right):
    """It announces the class itself."""

    @hookimpl
    def register_attacks(self):
        yield attack.Right


@broken("", "already provided by")
class AnnouncesTwice(Right):
    """It announces one name twice."""

    @hookimpl
    def register_attacks(self):
        return [INFO, INFO]


@broken("", "there is no hook 'register_atacks': did you mean 'register_attacks'")
class MisspellsItsHook(Right):
    """It misspells its hook."""

    register_attacks = None

    @hookimpl
    def register_atacks(self):
        yield INFO


@broken("", "raised SystemExit")
class ExitsWhenItAnnounces(Right):
    """It ends the process when it announces."""

    @hookimpl
    def register_attacks(self):
        sys.exit("no license")
