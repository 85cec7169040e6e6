"""Tables of strings, numbers, lists and tables as TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(tables: Mapping[str, Any], heading: tuple[str, ...] = ()) -> str:
    """Write tables as TOML.

    Args:
        tables: Values by key: the first two levels become ``[a]`` and ``[a.b]``, deeper ones
            inline tables.
        heading: Comment lines to begin with.
    """
    lines = [f"# {line}" for line in heading]
    for name, table in tables.items():
        nested = table and all(isinstance(value, Mapping) for value in table.values())
        parts = {f"{_key(name)}.{_key(key)}": value for key, value in table.items()}
        for path, values in parts.items() if nested else [(_key(name), table)]:
            lines += ["", f"[{path}]"]
            lines += [f"{_key(key)} = {_value(value)}" for key, value in values.items()]
    return "\n".join(lines).lstrip("\n") + "\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)
