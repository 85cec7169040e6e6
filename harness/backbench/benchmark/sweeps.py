"""Sweeps of a benchmark file: an instance that stands for one with each of some values. Pure."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backbench.benchmark.changes import with_value
from backbench.benchmark.matrix import MOST_CELLS
from backbench.errors import Problem, UsageError
from backbench.model import CHAIN, Axis

#: Key of an instance's table.
SWEEP = "sweep"

#: Separates an instance's name from what it was swept to. Filters, claims and the variants of an
#: evaluator give a meaning to ``=``, ``,``, ``:`` and blanks; a shell gives to brackets.
MARK = "@"


def expanded(
    tables: Mapping[str, Any],
    problems: list[Problem],
    groups: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
) -> dict[str, Any]:
    """Return the tables of a file in which each swept instance is replaced by its members.

    ``[attacks.patch]`` with ``sweep = { "rate.value" = [0.05, 0.1] }`` becomes
    ``patch@rate.value-0.05`` and ``patch@rate.value-0.1``; several swept options give their
    product. Wherever a matrix, a profile or the subject of a claim names ``patch``, it names both;
    a claim ``against`` it becomes a claim against each.

    Args:
        tables: The file's content, which stays as it is.
        problems: Gets one for each sweep that is none.
        groups: Further names that stand for several, by table of the axis, ``methods``.
    """
    result = dict(tables)
    members: dict[str, dict[str, list[str]]] = {
        plural: {name: list(names) for name, names in known.items()}
        for plural, known in (groups or {}).items()
    }
    room = MOST_CELLS
    for axis in Axis:
        named = tables.get(axis.plural)
        if not isinstance(named, Mapping):
            continue
        made: dict[str, Any] = {}
        for name, table in named.items():
            if not isinstance(table, Mapping) or SWEEP not in table:
                made[name] = table
                continue
            plain = {"plugin": name} | {key: one for key, one in table.items() if key != SWEEP}
            try:
                values = _values(table[SWEEP])
                room -= math.prod(map(len, values.values()))
                if room < 0:
                    raise UsageError(f"the file's sweeps have more than {MOST_CELLS:,} instances")  # noqa: TRY301
                found = dict(_instances(name, plain, values))
                if taken := sorted(found.keys() & named.keys()):
                    raise UsageError(f"the file has an instance {taken[0]!r} already")  # noqa: TRY301
            except UsageError as error:
                problems.append(Problem(f"{axis.plural}.{name}.{SWEEP}", str(error)))
                found = {name: plain}
            made |= found
            members.setdefault(axis.plural, {})[name] = list(found)
        result[axis.plural] = made
    names = _Names(members)
    for table in (one for one in _NAMING if members and one in tables):
        try:
            found = names.renamed(tables[table])
            result[table] = names.compared(found) if table == "claims" else found
        except UsageError as error:
            problems.append(Problem(table, str(error)))
    return result


#: The tables of instances by the fields of a cell.
_PLURALS = {axis.value: axis.tables for axis in Axis}

#: Tables that name instances, or hold tables that do.
_NAMING = ("matrix", "profiles", "claims")


def base_of(name: str) -> str:
    """Return the swept instance that a member is of, as its name tells; else the name."""
    return name.partition(MARK)[0]


def _values(sweep: Any) -> dict[str, list[Any]]:
    """Return the values of each swept option.

    Raises:
        UsageError: If it is no table of arrays of values.
    """
    if not isinstance(sweep, Mapping) or not sweep:
        raise UsageError('should be a table of options and their values: { "rate.value" = [0.1] }')
    for path, values in sweep.items():
        if not isinstance(values, list) or not values:
            raise UsageError(f"{path}: should be an array of values")
        text, count = Counter(map(_text, values)).most_common(1)[0]
        if count > 1:
            raise UsageError(f"{path}: {text} is there {count} times")
    return dict(sweep)


def _instances(
    name: str, table: Mapping[str, Any], values: Mapping[str, list[Any]]
) -> Iterator[tuple[str, Any]]:
    """Yield the members of a swept instance: the product of the options' values."""
    for chosen in itertools.product(*values.values()):
        member, label = dict(table), name
        for path, value in zip(values, chosen, strict=True):
            member = with_value(member, path.split("."), value)
            label += f"{MARK}{path}-{_text(value)}"
        yield label, member


def _text(value: Any) -> str:
    """Return a value as a part of a name.

    Raises:
        UsageError: If it is a table or the like.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value).replace("+", "")  # 1e+20: a plus sign joins defenses
    if isinstance(value, list) and value:
        return "_".join(map(_text, value))
    raise UsageError(f"{value!r} is no number, text, true, false, or array of them")


@dataclass
class _Names:
    """Puts the members of swept instances where a table names the instance.

    Args:
        members: Names by axis and swept instance.
        room: So many names may still be put; a chain of swept defenses is their product.
    """

    members: Mapping[str, Mapping[str, list[str]]]
    room: int = MOST_CELLS

    def renamed(self, table: Any, plural: str = "") -> Any:
        """Return a table with the names of members.

        Raises:
            UsageError: If there are too many.
        """
        if isinstance(table, Mapping):
            return {key: self.renamed(value, key) for key, value in table.items()}
        if plural in self.members:
            names = table if isinstance(table, list) else [table]
            return [one for name in names for one in self._of(name, plural)]
        return [self.renamed(one) for one in table] if isinstance(table, list) else table

    def compared(self, claims: Any) -> Any:
        """Return claims, each against all of the members that its ``against`` names.

        Raises:
            UsageError: If there are too many.
        """
        if not isinstance(claims, list):
            return claims
        return [one for claim in claims for one in self._compared(claim)]

    def _compared(self, claim: Any) -> Iterator[Any]:
        against = claim.get("against") if isinstance(claim, Mapping) else None
        choices = []
        for part in against.split(",") if isinstance(against, str) else ():
            field, sign, name = (one.strip() for one in part.partition("="))
            plural = _PLURALS.get(field, "")
            named = self._of(name, plural) if sign and plural in self.members else [name]
            choices.append([f"{field}{sign}{one}" for one in named])
        found = [",".join(chosen) for chosen in itertools.product(*choices)]
        if len(found) < 2:
            yield claim
            return
        for one in found:
            yield {**claim, "against": one, "text": f"{claim.get('text', '')} ({one})"}

    def _of(self, name: Any, plural: str) -> Iterable[Any]:
        if not isinstance(name, str):
            return [name]
        parts = [self.members[plural].get(one, [one]) for one in Axis.of_plural(plural).parts(name)]
        self.room -= math.prod(map(len, parts))
        if self.room < 0:
            raise UsageError(f"names more than {MOST_CELLS:,} instances of sweeps")
        return map(CHAIN.join, itertools.product(*parts))
