"""What sentinels flag: a sentence in a stage's record, carried by all that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from backbench.records import Record


class Flag(NamedTuple):
    """What a sentinel has to say of a stage that went on all the same.

    Args:
        name: Of the sentinel: ``probe-at-chance``.
        sentence: What, where, and what to do.
    """

    name: str
    sentence: str


class Raised(NamedTuple):
    """A flag and the stage that it is of.

    Args:
        stage: The stage's label.
        name: See :class:`Flag`.
        sentence: See :class:`Flag`.
    """

    stage: str
    name: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.name}: {self.sentence}"


#: Gives the flags of a finished stage (its key), and of all that lead to it.
FlagsOf = Callable[[str], tuple[Raised, ...]]


def as_facts(flags: Iterable[Flag]) -> dict[str, Any]:
    """Return what a record says of flags: ``flags``, or nothing where there are none."""
    found = [flag._asdict() for flag in flags]
    return {"flags": found} if found else {}


def flags_in(facts: Mapping[str, Any]) -> tuple[Flag, ...]:
    """Return the flags in a record's facts; what a stranger may have put there instead is none."""
    found = facts.get("flags")
    return tuple(
        Flag(_printable(one.get("name")), _printable(one.get("sentence")))
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, Mapping)
    )


def reader(record_of: Callable[[str], Record | None]) -> FlagsOf:
    """Return a function that collects flags from records, reading each of them once.

    Args:
        record_of: Gives the record of a stage as it was written, or ``None``.
    """

    @cache
    def flags_of(key: str) -> tuple[Raised, ...]:
        record = record_of(key)
        if record is None:
            return ()
        before = (flag for one in record.stage["inputs"].values() for flag in flags_of(one))
        own = (Raised(_printable(record.label), *flag) for flag in flags_in(record.facts))
        return tuple(dict.fromkeys((*before, *own)))

    return flags_of


def _printable(text: object) -> str:
    """Return text that a terminal shows and does not obey."""
    return "".join(one if one.isprintable() else "?" for one in str(text))
