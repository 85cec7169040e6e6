"""Check that a record describes the stage that its key is of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from backbench.errors import PluginError
from backbench.external.encoder_options import KIND, MODULE, ImportOptions, ModuleOptions
from backbench.external.layouts import REVISION
from backbench.model import PluginUse, Stage
from backbench.plugin import Options
from backbench.plugin.infos import KINDS
from backbench.plugin.registry import FILES, Registry
from backbench.store.records import Record
from backbench.system.json_text import to_json


def restoring(registry: Registry) -> Callable[[Record], Stage]:
    """Return a function that gives the stage that a record describes.

    The installed plugin decides which options enter the key. Many stages have equal plugins and
    options, which are validated once.

    Raises:
        PluginError: (by the function) If the plugin is not installed, or in another revision.
        ValueError: (by the function) If the options are not the plugin's.
    """
    known: dict[str, PluginUse] = {}

    def use_of(said: PluginUse) -> PluginUse:
        names = said.kind, said.name, said.distribution, said.revision
        text = to_json([*names, said.options, said.identity])
        if text not in known:
            known[text] = _use(said, registry)
        return known[text]

    return lambda record: record.stage.changed(use_of)


def _use(said: PluginUse, registry: Registry) -> PluginUse:
    who = f"{said.kind} {said.name!r} of {said.distribution}"
    model: type[Options]
    if said.kind == KIND:
        model = ModuleOptions if said.name == MODULE else ImportOptions
        revision = REVISION
    elif said.kind in KINDS:
        registered = registry.find(said.kind, said.name)
        if registered.origin.distribution != said.distribution:
            raise PluginError(f"{who} is not installed, but one of {registered.origin}")
        model, revision = registered.info.options, registered.info.revision
    else:
        raise PluginError(f"there is no such kind of plugin as {said.kind!r}")
    if revision != said.revision:
        raise PluginError(f"{who} is installed in revision {revision}, not {said.revision}")
    identity = model.model_validate(dict(said.options)).identity()
    return replace(said, identity={**identity, **_files(said.identity)})


def _files(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hashes of the files behind options, which need not be here."""
    return {FILES: identity[FILES]} if FILES in identity else {}


def key_differences(record: Record, restored: Callable[[Record], Stage]) -> Iterator[str]:
    """Compare a record's key with that of what it describes, as :func:`restoring` gives it.

    Raises:
        PluginError: If that cannot be known here.
    """
    try:
        key = restored(record).key
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        yield f"its record's options are not the plugin's: {where}: {problem['msg']}"
        return
    if key != record.key:
        yield (
            f"what its record describes has the key {key}: its plugin, options, seed, inputs or "
            "content are not those of the stage"
        )


def description_differences(record: Record, planned: Stage) -> Iterator[str]:
    """Compare a record with the stage in the plan that has its key."""
    key = planned.key
    if key != record.key:
        yield f"its description in the plan has the key {key}"
    whole = record.stage.changed(
        lambda use: replace(use, identity={**use.options, **_files(use.identity)})
    )
    if whole.key != key:  # else they are equal; to compare them part by part takes long
        yield from _missing(planned.identity(), whole.identity(), "")


def _missing(wanted: Any, said: Any, path: str) -> Iterator[str]:
    """Name what of one JSON value another does not hold; options outside the key may be more."""
    if isinstance(wanted, Mapping) and isinstance(said, Mapping):
        if path in {".inputs", ""} and set(wanted) != set(said):
            what = path[1:] or "stage"
            yield f"its record says {what} {sorted(said)}, not {sorted(wanted)}"
        for name, value in wanted.items():
            if name not in said:
                yield f"its record has no {f'{path}.{name}'[1:]}"
            else:
                yield from _missing(value, said[name], f"{path}.{name}")
    elif wanted != said or isinstance(wanted, bool) != isinstance(said, bool):
        yield f"its record says {path[1:]} = {said!r}, its key is of {wanted!r}"


def without_places(options: Mapping[str, Any], identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without the folders of a machine: of a path outside the key, its last part."""
    kept: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping) and isinstance(identity.get(name), Mapping):
            kept[name] = without_places(value, identity[name])
        elif name not in identity and isinstance(value, str) and Path(value).is_absolute():
            kept[name] = Path(value).name
        else:
            kept[name] = value
    return kept
