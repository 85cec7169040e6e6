"""The instances of a benchmark file: a plugin with its options, validated, under a name."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from backbench.benchmark.file import BenchmarkFile, pydantic_problems, retyped
from backbench.benchmark.protocols.card import Protocol, find_protocol
from backbench.benchmark.protocols.rules import no_such_evaluator, plugin_of, terms_of
from backbench.errors import NOT_A_NAME, BackbenchError, PluginError, Problem, UsageError, is_name
from backbench.model import CHAIN, NONE, Axis, PluginUse
from backbench.options.backbones import backbones_in
from backbench.plugin import DatasetMetadata, ExecutorInfo, ObserverInfo, Options
from backbench.plugin.calling import all_of, plugin_code
from backbench.plugin.registry import Registered, Registry

if TYPE_CHECKING:
    from backbench.plugin import Dataset

#: Tables of what is on no axis, and the kind of plugin that each names.
OFF_AXIS = {"observers": ObserverInfo.kind, "executors": ExecutorInfo.kind}

#: So many names are shown.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Instance:
    """A plugin with its options, under the name that the file gives to it."""

    axis: str
    name: str
    registered: Registered
    options: Options

    @property
    def path(self) -> str:
        """TOML path of the instance."""
        return f"{self.axis}.{self.name}"

    def use(self) -> PluginUse:
        """Return the plugin and its options as they enter stages."""
        info = self.registered.info
        with plugin_code(self.registered):
            return PluginUse(
                kind=info.kind,
                name=info.name,
                distribution=self.registered.origin.distribution,
                revision=info.revision,
                options=self.options.model_dump(mode="json"),
                identity=self.registered.identity(self.options),
            )

    def problems(self, find: Callable[..., Iterable[str]], *given: object) -> list[str]:
        """Return what the plugin's own check of its options finds wrong.

        Args:
            find: The check, a method of the options; if it raises, that is what is wrong.
            *given: What the options meet: a dataset's metadata, a backbone, other options.
        """
        try:
            with plugin_code(self.registered):
                found = find(*given)
                sentences = [found] if isinstance(found, str) else found
                return [str(one) for one in all_of(sentences, self.registered)]
        except BackbenchError as error:
            return [str(error)]

    def backbone_use(self) -> PluginUse | None:
        """Return the plugin of the backbone that the options name; ``None`` without one.

        With other arguments it is the same plugin: they are among the options.
        """
        return next(backbones_in(self.options), None)


#: The instances of a benchmark by axis and name.
Instances = Mapping[str, Mapping[str, Instance]]


@dataclass(frozen=True, slots=True)
class Context:
    """Context of a validation, and its problems.

    ``lost``: the file names an unknown card; ``encoders`` are the names of its encoders from
    elsewhere.
    """

    registry: Registry
    folder: Path
    protocol: Protocol | None
    lost: bool
    problems: list[Problem]
    encoders: frozenset[str] = frozenset()


def context_of(
    tables: Mapping[str, Any], registry: Registry, folder: Path, problems: list[Problem]
) -> Context:
    """Return what the tables of a file are validated by, with the card that they name."""
    header = tables.get("benchmark")
    name = header.get("protocol") if isinstance(header, Mapping) else None
    protocol = None
    if isinstance(name, str):
        try:
            protocol = find_protocol(name)
        except UsageError as error:
            problems.append(Problem("benchmark.protocol", str(error)))
    lost = name is not None and protocol is None
    encoders = tables.get("encoders")
    named = frozenset(encoders) if isinstance(encoders, Mapping) else frozenset()
    return Context(registry, folder, protocol, lost, problems, named)


def validate_instances(
    content: BenchmarkFile, context: Context
) -> tuple[dict[str, dict[str, Instance]], set[str]]:
    """Validate every instance, named or implied by a plugin's own name in the matrix."""
    found: dict[str, dict[str, Instance]] = {axis.plural: {} for axis in Axis.with_tables()}
    broken: set[str] = set()
    for axis in Axis.with_tables():
        tables: dict[str, dict[str, Any]] = getattr(content, axis.plural)
        card = context.protocol if axis is Axis.EVALUATOR else None
        known = list(card.evaluators) if card else context.registry.names(axis.kind)
        named = (
            part
            for matrix in content.matrix
            for one in Axis
            if one.tables == axis.plural
            for name in getattr(matrix, one.plural)
            for part in axis.parts(name)
        )
        elsewhere = context.encoders if axis is Axis.METHOD else ()
        implied: dict[str, dict[str, Any]] = {
            name: {}
            for name in named
            if name in known and name not in tables and name not in elsewhere
        }
        for name, table in {**tables, **implied}.items():
            path = f"{axis.plural}.{name}"
            if name == NONE and any(one.optional for one in Axis if one.tables == axis.plural):
                context.problems.append(Problem(path, f"{NONE!r} is reserved: choose another name"))
            elif axis.parts(name) != (name,):
                sentence = f"{CHAIN!r} joins the defenses of a chain: choose a name without it"
                context.problems.append(Problem(path, sentence))
                broken.add(path)
            elif card and (stranger := no_such_evaluator(card, name)):
                context.problems.append(Problem(path, stranger))
                broken.add(path)
            elif instance := _instance(axis.plural, name, table, context):
                found[axis.plural][name] = instance
            else:
                broken.add(path)
    return found, broken


def instances_off_axis(content: BenchmarkFile, table: str, context: Context) -> dict[str, Instance]:
    """Validate the ``observers`` or the ``executors`` of a file."""
    tables: dict[str, dict[str, Any]] = getattr(content, table)
    found = ((name, _instance(table, name, one, context)) for name, one in tables.items())
    return {name: instance for name, instance in found if instance is not None}


def _instance(axis: str, name: str, table: Mapping[str, Any], context: Context) -> Instance | None:
    path, problems = f"{axis}.{name}", context.problems
    given = dict(table)
    plugin = given.pop("plugin", plugin_of(context.protocol, axis, name))
    preset = given.pop("preset", None)
    if not isinstance(plugin, str):
        problems.append(Problem(f"{path}.plugin", "should be the name of a plugin"))
        return None
    try:
        kind = OFF_AXIS.get(axis) or Axis.of_plural(axis).kind
        registered = context.registry.find(kind, plugin)
    except PluginError as error:
        where = f"{path}.plugin" if "plugin" in table else path
        problems.append(Problem(where, str(error)))
        return None
    info = registered.info
    if preset is not None and (not isinstance(preset, str) or preset not in info.presets):
        known = ", ".join(sorted(info.presets)) or "none"
        message = f"{info.name} has no preset {preset!r} (there are: {known})"
        problems.append(Problem(f"{path}.preset", message))
        return None
    values = info.presets[preset] if preset is not None else {}
    terms = terms_of(context.protocol, axis, name, info)
    if plugin != terms.plugin:
        problems.append(terms.wrong_plugin(plugin))
        return None
    found = list(terms.surplus(given, preset, values))
    merged = terms.without_surplus(_merge(_merge(terms.options, values), given))
    instance = None
    try:
        with plugin_code(registered):
            options = _validated(info.options, merged, context.folder)
    except BackbenchError as error:
        found.append(Problem(path, str(error)))
    else:
        if isinstance(options, ValidationError):
            found += pydantic_problems(options, info.options, path)
        else:
            found += list(retyped(merged, options, path)) or terms.contradictions(
                options, given, preset
            )
            instance = Instance(axis, name, registered, options)
            backbones = sorted({use.name for use in backbones_in(options)})
            if len(backbones) > 1:  # a stage, and so its key, names one
                said = f"names the backbones {' and '.join(backbones)} of plugins: choose one"
                found.append(Problem(path, said))
    problems.extend(found)
    return None if found else instance


def _validated(
    model: type[Options], values: Mapping[str, Any], folder: Path
) -> Options | ValidationError:
    """Return options, or what is wrong with them: other errors are the plugin's own."""
    try:
        return model.model_validate(values, context={"base": folder})
    except ValidationError as error:
        return error


def load_instance(
    tables: Mapping[str, Any],
    axis: str,
    name: str,
    *,
    registry: Registry,
    folder: Path,
    problems: list[Problem],
) -> Instance | None:
    """Validate one instance of a file alone; return ``None`` and add problems if it is wrong."""
    table = tables.get(axis, {}).get(name, {})
    return _instance(axis, name, table, context_of(tables, registry, folder, problems))


def open_dataset(
    instance: Instance, problems: list[Problem]
) -> tuple[Dataset, DatasetMetadata] | None:
    """Make a dataset and read its metadata; return ``None`` and add problems if that fails."""
    try:
        with plugin_code(instance.registered):
            dataset: Dataset = instance.registered.implementation()(instance.options)
            metadata = dataset.metadata()
            _check(metadata)
    except BackbenchError as error:
        problems.append(Problem(instance.path, str(error)))
    else:
        wrong = [name for name in metadata.classes if not is_name(name)]
        alike = _alike(metadata.classes)
        if not wrong and not alike:
            return dataset, metadata
        if not wrong:
            problems.append(Problem(instance.path, alike))
            return None
        shown = ", ".join(ascii(name)[:80] for name in wrong[:_SHOWN])
        shown += " …" if len(wrong) > _SHOWN else ""
        problems.append(Problem(instance.path, f"{shown}: {NOT_A_NAME}; rename the class"))
    return None


def _alike(classes: Sequence[str]) -> str:
    """Name two classes that look the same, as when a copy has changed the Unicode form of names."""
    first: dict[str, int] = {}
    for label, name in enumerate(classes):
        other = first.setdefault(unicodedata.normalize("NFC", name).strip(), label)
        if other != label:
            return (
                f"the classes {classes[other]!a} and {name!a} look the same: they differ in blanks "
                "or Unicode form at most; put their images into one class"
            )
    return ""


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``over``, table by table."""
    merged = dict(base)
    for key, value in over.items():
        before = merged.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(before, value) if both else value  # type: ignore[arg-type]
    return merged


def _check(metadata: DatasetMetadata) -> None:
    """Raise an error if the metadata of a dataset contradict themselves."""
    if not isinstance(metadata, DatasetMetadata):
        raise TypeError(f"metadata() gave a {type(metadata).__name__}, not DatasetMetadata")
    counts = metadata.train_per_class
    if not metadata.labelled and not counts and metadata.train > 0 == metadata.val:
        return
    if not len(metadata.classes) == len(counts) > 0 or min(metadata.val, *counts) < 0:
        raise ValueError(f"metadata() gave {len(metadata.classes)} classes, of {counts} images")
