"""Meet a card with a benchmark file: defaults below it, problems where it contradicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from backbench.benchmark.protocols.card import EVERY, Fixed, Protocol
from backbench.data.classes import VARIANTS, fingerprint
from backbench.errors import Problem
from backbench.model import Axis
from backbench.options.base import changes_numbers
from backbench.plugin import DatasetMetadata, Options, PluginInfo
from backbench.plugin.suggestions import suggestion
from backbench.system.json_text import to_json


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of a card for one instance; empty where there is no card.

    Args:
        protocol: Id of the card.
        path: TOML path of the instance, ``attacks.x``.
        plugin: The plugin that the instance must have.
        options: Values that lie below the preset and the file, and that these must not change.
        unset: Options that must be left out; of a table in a table, by both names.
    """

    protocol: str
    path: str
    plugin: str
    options: Mapping[str, Any]
    unset: tuple[tuple[str, ...], ...]

    def wrong_plugin(self, plugin: str) -> Problem:
        """Return the problem of an instance of another plugin."""
        return self._problem(
            ("plugin",), f"fixes it to {to_json(self.plugin)}", plugin, {"plugin": plugin}, None
        )

    def surplus(
        self, given: Mapping[str, Any], preset: str | None, values: Mapping[str, Any]
    ) -> Iterator[Problem]:
        """Yield the options that should have been left out.

        They are looked for before the options are validated: together with the card's own values
        they may make no sense.
        """
        for path in self.unset:
            said = (_at(given, path), _at(values, path))
            found = next((one for one in said if one is not None), None)
            if found is not None:
                yield self._problem(path, "leaves it unset", found, given, preset)

    def without_surplus(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return options without those that should have been left out."""
        return _without(values, self.unset)

    def contradictions(
        self, options: Options, given: Mapping[str, Any], preset: str | None
    ) -> Iterator[Problem]:
        """Yield where the validated options are not the card's."""
        values = options.model_dump(mode="json")
        for path, wanted in leaves(self.options):
            found = _at(values, path)
            if found != wanted:
                said = f"fixes it to {to_json(wanted)}"
                yield self._problem(path, said, found, given, preset)

    def _problem(
        self,
        path: tuple[str, ...],
        said: str,
        found: Any,
        given: Mapping[str, Any],
        preset: str | None,
    ) -> Problem:
        shown = to_json(found, default=str)
        if preset is not None and _at(given, path) is None:
            end = f"(preset {preset!r}: {shown}); choose another preset, or leave out the protocol"
        else:
            end = f"(given: {shown}); leave it out, or leave out the protocol"
        return Problem(".".join((self.path, *path)), f"protocol {self.protocol} {said} {end}")


def plugin_of(protocol: Protocol | None, axis: str, name: str) -> str:
    """Return the plugin of an instance that names none: the card's, else its own name."""
    if protocol is not None and axis == "evaluators" and name in protocol.evaluators:
        return protocol.evaluators[name].plugin
    return name


def terms_of(protocol: Protocol | None, axis: str, name: str, info: PluginInfo) -> Terms:
    """Return the terms of a card for an instance."""
    path = f"{axis}.{name}"
    if protocol is None or axis in {Axis.DEFENSE.plural, "observers"}:  # free
        return Terms("", path, info.name, {}, ())
    if axis == "evaluators":
        one = protocol.evaluators[name]
        return Terms(protocol.id, path, one.plugin, one.options, _later(one.options, info.options))
    entries: Mapping[str, Fixed] = getattr(protocol, axis)
    every, own = (entries.get(key, Fixed()) for key in (EVERY, info.name))
    options = _fitting(every.options, info.options) | own.options
    paths = (tuple(name.split(".")) for name in every.unset)
    unset = [path for path in paths if _has(info.options, path)]
    unset += [tuple(name.split(".")) for name in own.unset]
    return Terms(protocol.id, path, info.name, options, tuple(unset))


def _later(values: Mapping[str, Any], model: type[BaseModel]) -> tuple[tuple[str, ...], ...]:
    """Return the options of a model that a card, which fixes them all, is older than."""
    known = model.model_fields.items()
    return tuple((name,) for name, one in known if name not in values and changes_numbers(one))


def _fitting(values: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Return those of some values for which a model, or a model in it, has a field."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = model.model_fields[name].annotation if name in model.model_fields else None
        if isinstance(value, Mapping) and isinstance(inner, type) and issubclass(inner, BaseModel):
            part = _fitting(value, inner)
            if part:
                found[name] = part
        elif inner is not None and not isinstance(value, Mapping):
            found[name] = value
    return found


def _has(model: type[BaseModel], path: tuple[str, ...]) -> bool:
    values: Any = None
    for name in reversed(path):
        values = {name: values}
    return bool(_fitting(values, model))


def _without(values: Mapping[str, Any], paths: Iterable[tuple[str, ...]]) -> dict[str, Any]:
    found = dict(values)
    for name, *rest in paths:
        if rest and isinstance(found.get(name), Mapping):
            found[name] = _without(found[name], [tuple(rest)])
        elif not rest:
            found.pop(name, None)
    return found


def leaves(
    values: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the values of tables in tables, each with the names that lead to it."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(values, Mapping):
            return None
        values = values.get(key)
    return values


def no_such_evaluator(protocol: Protocol, name: str) -> str | None:
    """Return that an evaluator is not the card's; ``None`` if it is."""
    if name in protocol.evaluators:
        return None
    hint = suggestion(name, protocol.evaluators)
    return f"protocol {protocol.id} has no evaluator {name!r}{hint}"


def method_problem(protocol: Protocol, evaluator: str, method: str, plugin: str) -> str | None:
    """Return that the card has an evaluator for other methods only; ``None`` if it fits."""
    methods = protocol.evaluators[evaluator].methods
    if not methods or plugin in methods:
        return None
    right = [
        name for name, card in protocol.evaluators.items() if plugin in (card.methods or (plugin,))
    ]
    hint = f"evaluate it with {' or '.join(right)}" if right else "no evaluator of it is for it"
    return (
        f"protocol {protocol.id} evaluates {', '.join(methods)} with it, and not {method!r}: "
        f"{hint}, in a [[matrix]] of its own"
    )


def data_problems(protocol: Protocol, metadata: DatasetMetadata) -> Iterator[str]:
    """Yield why a dataset is not the card's: its classes, its number of images, their size."""
    images = protocol.images
    found = fingerprint(metadata.classes)
    if found != images.classes_sha256:
        ours, theirs = set(protocol.class_names()), set(metadata.classes)
        listed = f" of {images.classes}" if isinstance(images.classes, str) else ""
        known = f" of {VARIANTS[found].name}" if found in VARIANTS else ""
        yield (
            f"protocol {protocol.id} is for the {len(ours)} classes{listed} (fingerprint "
            f"{images.classes_sha256[:12]}), and this dataset has {len(theirs)}{known} "
            f"(fingerprint {found[:12]}): {len(ours - theirs)} of the protocol's are missing, "
            f"{len(theirs - ours)} are not the protocol's"
        )
    for what, wanted, count in (
        ("validation", images.val, metadata.val),
        ("training", images.train, metadata.train),
    ):
        if wanted not in (None, count):
            yield f"protocol {protocol.id} has {wanted:,} {what} images, and this {count:,}"
    if images.side is not None and metadata.size != (images.side, images.side):
        has = "images of several sizes"
        if metadata.size is not None:
            has = f"{metadata.size[1]} x {metadata.size[0]} px"
        yield f"protocol {protocol.id} takes images of {images.side} px as they are, not {has}"
