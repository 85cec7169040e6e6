"""JSON: what is not finite, or no JSON value, is named when it is written; text of strangers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Final

import pydantic_core

from backbench.errors import BackbenchError


@cache
def _encoder(**options: Any) -> json.JSONEncoder:
    return json.JSONEncoder(allow_nan=False, **options)


def to_json(content: object, what: str = "JSON", **options: Any) -> str:
    """Return a value as JSON.

    Args:
        content: The value.
        what: What it is of, for the error.
        **options: Of :class:`json.JSONEncoder`.

    Raises:
        BackbenchError: Naming the first part that is not finite, or that JSON does not have.
    """
    try:
        return _encoder(**options).encode(content)
    except (TypeError, ValueError) as error:
        where, value = next(_wrong(content, ""), ("", content))
        shown = value if isinstance(value, float) else f"a {type(value).__name__}"
        raise BackbenchError(
            f"{what}: {where or 'the whole'} is {shown}, which JSON cannot hold"
        ) from error


def _wrong(value: object, where: str) -> Iterator[tuple[str, object]]:
    """Yield the parts of a value that JSON does not have, each with its path."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _wrong(one, f"{where}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for index, one in enumerate(value):
            yield from _wrong(one, f"{where}[{index}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield where, value
    elif not isinstance(value, (str, int, type(None))):
        yield where, value


def from_json(content: str | bytes) -> Any:
    """Parse JSON that others may have written.

    Raises:
        ValueError: If it is not JSON, nested too deeply, or holds a number that is not finite.
    """
    with suppress(ValueError):  # twice as fast; what it refuses is read, or named, below
        return pydantic_core.from_json(content, allow_inf_nan=False)
    if isinstance(content, bytes):
        content = content.decode(json.detect_encoding(content), "surrogatepass")
    try:
        return _DECODER.decode(content)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"it has a number that is not finite, {constant}")


#: Made once: ``json.loads`` makes another for every text.
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse)
