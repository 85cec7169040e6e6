"""Tables of the page, as plain data for the templates. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

#: A number that every language reads alike.
_PLAIN: Final = re.compile(r"-?\d*\.?\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of a column.

    Args:
        title: Its text.
        is_number: Its cells are numbers.
        field: The axis that its cells are names of; a reader can choose one of them.
        about: A longer text, for a tooltip.
    """

    title: str
    is_number: bool = False
    field: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell.

    Args:
        text: Its text.
        value: By what it is sorted, of a number; ``None`` where there is none.
        below: A smaller text below it.
        control: The number of the control, below it.
        mark: A sign to its right.
        bar: Its interval, drawn.
        link: Address within the page, or of another page of the site.
        style: ``good`` or ``bad``, of a verdict.
    """

    text: str
    value: float | None = None
    below: str = ""
    control: str = ""
    mark: str = ""
    bar: Markup | None = None
    link: str = ""
    style: str = ""

    @property
    def is_plain(self) -> bool:
        """Return whether the text is the value, as JavaScript reads it."""
        return _PLAIN.fullmatch(self.text) is not None and float(self.text) == self.value


@dataclass(frozen=True, slots=True)
class Table:
    """A table; a table without rows is not shown.

    Args:
        caption: What it shows.
        headings: Headings of its columns.
        rows: Its rows.
        notes: Sentences below it.
        is_main: A reader can filter its rows.
    """

    caption: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    is_main: bool = False

    def __bool__(self) -> bool:
        return bool(self.rows)


def plain(
    caption: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: int = 0,
    notes: Sequence[str] = (),
) -> Table:
    """Return a table of texts, of which the last columns are so many numbers."""
    names = len(headings) - numbers
    return Table(
        caption,
        [Heading(title, at >= names) for at, title in enumerate(headings)],
        [
            [Cell(text, as_number(text) if at >= names else None) for at, text in enumerate(row)]
            for row in rows
        ],
        notes,
    )


def as_number(text: str) -> float | None:
    """Return the number that a text begins with, or ``None``."""
    first = text.partition(" ")[0].replace(",", "").rstrip("%*").replace("−", "-")
    try:
        return float(first)
    except ValueError:
        return None
