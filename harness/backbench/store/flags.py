"""Flags of sanity checks: a sentence in a stage's record, and in those of all made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Flag(NamedTuple):
    """The name of a sanity check, and a sentence on a stage that continues: what, where, advice."""

    name: str
    sentence: str


class Raised(NamedTuple):
    """A flag, and the label of the stage that it is of."""

    stage: str
    name: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.name}: {self.sentence}"


def carried(label: str, own: Iterable[Flag], inherited: Iterable[Raised]) -> tuple[Raised, ...]:
    """Return the flags of a stage's record: those of what it was made of, and its own."""
    return tuple(dict.fromkeys((*inherited, *(Raised(label, *flag) for flag in own))))


def flags_from_json(values: object) -> tuple[Raised, ...]:
    """Read the flags of a record; anything else that a stranger may have put there is dropped."""
    return tuple(
        Raised(*(_printable(one.get(field)) for field in Raised._fields))
        for one in (values if isinstance(values, list) else ())
        if isinstance(one, Mapping)
    )


def _printable(text: object) -> str:
    """Return text that a terminal shows and does not obey."""
    return "".join(one if one.isprintable() else "?" for one in str(text))
