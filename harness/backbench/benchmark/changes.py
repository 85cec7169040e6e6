"""Changes of a benchmark file that are given beside it: ``methods.byol.epochs=20``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from backbench.benchmark.file import BenchmarkFile
from backbench.errors import ConfigError, Problem, UsageError
from backbench.model import Axis
from backbench.plugin.suggestions import suggestion
from backbench.system.toml import parse_toml

_PART: Final = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_CHANGE: Final = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=(.*)", re.ASCII | re.DOTALL)

#: Tables that hold others by name.
_NAMED: Final = (*(axis.plural for axis in Axis), "profiles")


class Change(NamedTuple):
    """A value and its TOML path."""

    path: tuple[str, ...]
    value: Any


def changed(
    tables: Mapping[str, Any], changes: Iterable[str], problems: list[Problem]
) -> dict[str, Any]:
    """Return the tables of a file with some values changed, in order.

    Args:
        tables: The file's content, which stays as it is.
        changes: A TOML path and value each, ``methods.byol.epochs=20``. Options that the file
            leaves out may be given; instances, profiles and elements of arrays must be there.
        problems: Gets one for each change that cannot be made.
    """
    result = dict(tables)
    for text in changes:
        try:
            change = _read(text)
            _refuse_unknown(result, change.path)
            result = with_value(result, change.path, change.value)
        except UsageError as error:
            problems.append(Problem(f"--set {text}", str(error)))
    return result


def with_value(tables: Any, path: Sequence[str], value: Any, done: str = "") -> Any:
    """Return a table or an array with a value at a path; tables on the way are added.

    Raises:
        UsageError: If something on the way is a value, or an array without such an element.
    """
    if not path:
        return value
    first, rest = path[0], path[1:]
    here = f"{done}.{first}".lstrip(".")
    if isinstance(tables, Mapping):
        return {**tables, first: with_value(tables.get(first, {}), rest, value, here)}
    if not isinstance(tables, list):
        raise UsageError(f"{done} is {tables!r}, which has no {first!r}")
    if not first.isdecimal() or int(first) >= len(tables):
        raise UsageError(f"{done} has {len(tables)} elements, counted from 0, and no {first!r}")
    inner = with_value(tables[int(first)], rest, value, here)
    return [*tables[: int(first)], inner, *tables[int(first) + 1 :]]


def _read(text: str) -> Change:
    """Parse a change.

    Raises:
        UsageError: If it is none.
    """
    found = _CHANGE.fullmatch(text)
    if found is None:
        raise UsageError("is no PATH=VALUE, as methods.byol.epochs=20")
    try:
        parts = [key for part in re.findall(_PART, found[1]) for key in parse_toml(f"{part}=0", "")]
        values = parse_toml(f"value ={found[2]}", "")
    except ConfigError:
        values = {}
    if set(values) != {"value"}:
        raise UsageError(f"{found[2].strip()} is no value of TOML: write a text in quotes")
    return Change(tuple(parts), values["value"])


def _refuse_unknown(tables: Mapping[str, Any], path: tuple[str, ...]) -> None:
    """Refuse tables and names that the file does not have.

    Raises:
        UsageError: With the nearest right name.
    """
    first, *rest = path
    if first not in BenchmarkFile.model_fields:
        known = set(BenchmarkFile.model_fields)
        raise UsageError(f"there is no table {first!r}{suggestion(first, known)}")
    if first not in _NAMED:
        return
    if not rest:
        raise UsageError(f"name one of the {first}: {first}.NAME.OPTION=VALUE")
    given = tables.get(first)
    known = {*(given if isinstance(given, Mapping) else ())}
    known |= {*_in_matrices(tables, first)} if first != "profiles" else set()
    if rest[0] not in known:
        raise UsageError(f"the file has no {first}.{rest[0]}{suggestion(rest[0], known)}")


def _in_matrices(tables: Mapping[str, Any], plural: str) -> Iterable[str]:
    """Yield the names of an axis in the matrices: a plugin needs no table."""
    matrices = tables.get("matrix")
    for matrix in matrices if isinstance(matrices, list) else ():
        names = matrix.get(plural, ()) if isinstance(matrix, Mapping) else ()
        for name in names if isinstance(names, list) else [names]:
            if isinstance(name, str):
                yield from Axis.of_plural(plural).parts(name)
