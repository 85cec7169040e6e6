"""The installed plugins and their options as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from backbench.errors import PluginError
from backbench.plugin import ExcludeFromKey
from backbench.plugin.calling import plugin_code
from backbench.plugin.infos import KINDS
from backbench.plugin.registry import Registered, Registry
from backbench.plugin.suggestions import suggestion
from backbench.system.json_text import to_json


def plugins_text(registry: Registry, style: str = "table") -> str:
    """Return the list of the installed plugins as a ``table`` or ``json``."""
    if style == "json":
        return to_json([_as_json(one) for one in registry.all()], indent=2)
    hint = "`backbench plugins show NAME` documents the options of one."
    return "\n".join([*_list(registry), "", hint])


def plugin_text(registry: Registry, name: str, kind: str | None = None) -> str:
    """Return the page of a plugin, of a kind: every option with type, default and bounds."""
    every = registry.all()
    found = [one for one in every if one.info.name == name and kind in {None, one.info.kind}]
    if not found:
        names = sorted({one.info.name for one in every})
        raise PluginError(f"no plugin is called {name!r}{suggestion(name, names)}")
    return "\n".join(line for one in found for line in _page(one))


def _list(registry: Registry) -> Iterator[str]:
    for kind in KINDS:
        found = [one for one in registry.all() if one.info.kind == kind]
        if found:
            yield f"{kind}s"
        width = max((len(one.info.name) for one in found), default=0)
        for one in found:
            yield f"  {one.info.name:{width}}  {one.info.summary}"
            margin = " " * (width + 4)
            for text in filter(None, (_source(one), _option_names(one))):
                yield textwrap.fill(text, 100, initial_indent=margin, subsequent_indent=margin)


def _source(one: Registered) -> str:
    paper = one.info.paper
    cited = ""
    if paper:
        first, comma, _ = paper.authors.partition(",")
        cited = f"{first}{' et al.' if comma else ''} {paper.year}"
    return " · ".join(filter(None, (str(one.origin), f"revision {one.info.revision}", cited)))


def _option_names(one: Registered) -> str:
    names = ", ".join(one.info.options.model_fields)
    return f"options: {names}" if names else ""


def _as_json(one: Registered) -> dict[str, Any]:
    info = one.info
    return {
        "kind": info.kind,
        "name": info.name,
        "summary": info.summary,
        "distribution": one.origin.distribution,
        "version": one.origin.version,
        "entry_point": one.origin.entry_point,
        "revision": info.revision,
        "paper": str(info.paper) if info.paper else None,
        "presets": {name: dict(values) for name, values in info.presets.items()},
        "options": _schema(one),
    }


def _schema(one: Registered) -> dict[str, Any] | None:
    """Return the JSON Schema of a plugin's options; ``None`` of options that have none."""
    try:
        with plugin_code():
            return one.info.options.model_json_schema()
    except PluginError:
        return None


class Option(NamedTuple):
    """One option, documented."""

    name: str
    type: str
    default: str
    bounds: str
    description: str


def options_of(
    model: type[BaseModel], prefix: str = "", defaults: BaseModel | None = None
) -> Iterator[Option]:
    """Yield the options of a model, nested tables by dotted names after a prefix.

    ``defaults`` is the default of a model that is a nested table.
    """
    for name, field in model.model_fields.items():
        nested = field.annotation
        default = getattr(defaults, name, None) if defaults else _default(field)
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            known = default if isinstance(default, BaseModel) else None
            yield from options_of(nested, f"{prefix}{name}.", known)
        else:
            required = defaults is None and field.is_required()
            yield Option(
                f"{prefix}{name}",
                _type_name(field.annotation),
                "required" if required else _shown(default),
                ", ".join(_bounds(field)),
                field.description or "",
            )


def _default(field: FieldInfo) -> Any:
    """Return a field's default; of one that depends on other fields there is none to show."""
    if field.is_required() or field.default_factory_takes_validated_data:
        return None
    return field.get_default(call_default_factory=True)


def _shown(default: Any) -> str:
    if isinstance(default, BaseModel):
        default = default.model_dump(mode="json")
    return to_json(default, default=str) if default is not None else "–"


def _type_name(annotation: Any) -> str:
    if annotation is type(None):
        return "none"
    if getattr(annotation, "__metadata__", None) is not None:
        return _type_name(annotation.__origin__)
    arguments = getattr(annotation, "__args__", None)
    if arguments is None:
        return getattr(annotation, "__name__", str(annotation)).lower()
    origin = getattr(annotation, "__origin__", None)
    if getattr(origin, "__name__", "") in {"tuple", "list"}:
        inner = ", ".join("…" if one is Ellipsis else _type_name(one) for one in arguments)
        return f"[{inner}]"
    if str(annotation).startswith("typing.Literal"):
        return " | ".join(repr(one) for one in arguments)
    return " | ".join(_type_name(one) for one in arguments)


def _bounds(field: FieldInfo) -> Iterator[str]:
    for mark in field.metadata:
        for attribute, symbol in (
            ("ge", "≥"),
            ("gt", ">"),
            ("le", "≤"),
            ("lt", "<"),
            ("multiple_of", "multiple of"),
            ("min_length", "length ≥"),
            ("max_length", "length ≤"),
            ("pattern", "matches"),
        ):
            value = getattr(mark, attribute, None)
            if value is not None:
                yield f"{symbol} {value}"
        if isinstance(mark, ExcludeFromKey):
            yield "not in the key"


def _page(one: Registered) -> Iterator[str]:
    info = one.info
    yield f"{info.name} ({info.kind}): {info.summary}"
    yield f"from {one.origin}, revision {info.revision}"
    if info.paper:
        yield f"{info.paper} {info.paper.url}"
    rows = list(options_of(info.options))
    yield "\nOptions:" if rows else "\nNo options."
    for row in rows:
        bounds = f" ({row.bounds})" if row.bounds else ""
        default = " required" if row.default == "required" else f" = {row.default}"
        yield f"  {row.name}: {row.type}{default}{bounds}"
        margin = " " * 6
        yield textwrap.fill(row.description, 88, initial_indent=margin, subsequent_indent=margin)
    for name, values in info.presets.items():
        yield f"\nPreset {name}:"
        yield from (f"  {line}" for line in _flat(values))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key} = {to_json(value)}"
