"""Rules for the records and the columns that a plugin announces."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, get_args

from backbench.model import NONE
from backbench.options import backbones
from backbench.options.base import Options, holds_path
from backbench.plugin.infos import (
    API,
    DEFENSE_SHAPES,
    OWN_METRICS,
    AttackInfo,
    AttackShape,
    BackboneInfo,
    Citation,
    DefenseInfo,
    MetricInfo,
    PluginInfo,
)

#: Form of the names of plugins.
KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

#: Names that plugins of a kind cannot have.
RESERVED: dict[str, Collection[str]] = {
    AttackInfo.kind: {NONE},
    BackboneInfo.kind: backbones.OWN,
    DefenseInfo.kind: {NONE},
    MetricInfo.kind: OWN_METRICS,
}

#: Types of the fields of records and columns; ``title`` and such only where a record has them.
_TYPES: dict[str, type | tuple[type, ...]] = {
    "metric": str,
    "summary": str,
    "title": str,
    "revision": int,
    "passes": int,
    "decimals": int,
    "presets": Mapping,
    "requires": Mapping,
    "paper": (Citation, type(None)),
    "bounds": (tuple, type(None)),
}
_CHOICES = {
    "acts_on": get_args(AttackShape),
    "learns": (False, True),
    "coding": ("jpeg", "png"),
    "reads_encoder": (False, True),
    "reads": ("features", "images"),
    "best": (None, "high", "low"),
    "usual": (True, False),
}

#: The same of some records alone.
_OWN_CHOICES: dict[type, dict[str, tuple[Any, ...]]] = {
    DefenseInfo: {"acts_on": DEFENSE_SHAPES},
    MetricInfo: {"reads": ("predictions", "scores", "pairs")},
}


def field_problem(record: object) -> str | None:
    """Return what a field of a record or a column must be and is not; ``None`` if all are right."""
    for field, kind in _TYPES.items():
        value = getattr(record, field, None)
        if hasattr(record, field) and (not isinstance(value, kind) or isinstance(value, bool)):
            names = [one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,))]
            return f"{field} is {value!r}, and must be of type {' or '.join(names)}"
    for field, choices in {**_CHOICES, **_OWN_CHOICES.get(type(record), {})}.items():
        value = getattr(record, field, choices[0])
        several = isinstance(record, DefenseInfo) and isinstance(value, tuple) and value
        if any(one not in choices for one in (value if several else (value,))):
            named = " or ".join(map(repr, choices))
            return f"{field} is {value!r}, and must be {named}"
    if isinstance(record, DefenseInfo) and record.learns and "input" not in record.shapes:
        return "learns is True, and only a defense on the input has a fit of its own"
    low_high = getattr(record, "bounds", None) or (0, 1)
    if not all(isinstance(one, int | float) for one in low_high) or not (
        len(low_high) == 2 and low_high[0] < low_high[1]
    ):
        return f"bounds is {low_high!r}, and must be two rising numbers"
    if not all(isinstance(one, Mapping) for one in getattr(record, "presets", {}).values()):
        return "each preset must be a mapping of option values"
    return None


def record_problem(expected: type[PluginInfo], record: object) -> str | None:
    """Return why what a plugin announces is no usable record of a kind; ``None`` if it is."""
    if not isinstance(record, expected):
        return f"announces {record!r} where a {expected.__name__} is expected"
    if not all(isinstance(part, str) for part in (record.name, record.target)):
        return f"{record.name!r}: name and target must be strings"
    field = field_problem(record)
    options: object = record.options
    reserved = record.name in RESERVED.get(record.kind, ())
    rules = (
        (record.api == API, f"was made for interface {record.api}; this backbench has {API}"),
        (KEBAB.fullmatch(record.name), "the name is not in kebab-case"),
        (not reserved, "the name is reserved"),
        (_TARGET.fullmatch(record.target), f"target {record.target!r} is not 'module:Class'"),
        (
            isinstance(options, type) and issubclass(options, Options),
            "options must be a subclass of backbench.plugin.Options",
        ),
        (field is None, field),
        (
            record.kind != BackboneInfo.kind or not _has_path(options),
            "an option is a path, and the weights of a backbone are fresh: leave it out",
        ),
    )
    return next((f"{record.name!r}: {text}" for holds, text in rules if not holds), None)


def _has_path(options: Any) -> bool:
    fields = getattr(options, "model_fields", {})
    return any(holds_path(known.annotation) for known in fields.values())
