"""What sentinels flag: a sentence in a stage's record, and in those of all that is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from backbench.store.records import Record


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


def as_metadata(flags: Iterable[Flag]) -> dict[str, Any]:
    """Return what a stage says of its flags: ``flags``, or nothing where there are none."""
    found = [flag._asdict() for flag in flags]
    return {"flags": found} if found else {}


def carried(label: str, metadata: Mapping[str, Any], inputs: Iterable[Record]) -> dict[str, Any]:
    """Return the metadata of a stage's record, with the flags of what it was made of.

    Args:
        label: The stage's.
        metadata: What the stage says; ``flags`` as :func:`as_metadata` gives them.
        inputs: Records of the stages that it has read.
    """
    before = (flag for record in inputs for flag in raised_in(record))
    own = (Raised(label, one["name"], one["sentence"]) for one in metadata.get("flags", ()))
    found = [flag._asdict() for flag in dict.fromkeys((*before, *own))]
    return {**metadata, "flags": found} if found else dict(metadata)


def raised_in(record: Record) -> tuple[Raised, ...]:
    """Return the flags in a record; what a stranger may have put there instead is none."""
    found = record.metadata.get("flags")
    return tuple(
        Raised(*(_printable(one.get(field)) for field in Raised._fields))
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, Mapping)
    )


def _printable(text: object) -> str:
    """Return text that a terminal shows and does not obey."""
    return "".join(one if one.isprintable() else "?" for one in str(text))
