"""A drawn figure, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MediaType = Literal["image/svg+xml", "image/png"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, its words and its numbers.

    Args:
        name: Kebab-case, unique within its section.
        title: Title.
        caption: One or two sentences: what is shown, n, units.
        image: The file.
        media_type: Its type.
        alternative: Text for readers who do not see it: what it shows, with its main numbers.
        columns: Names of the columns of its numbers.
        rows: The numbers, a row of texts each.
    """

    name: str
    title: str
    caption: str
    image: bytes
    media_type: MediaType
    alternative: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """A figure that cannot be drawn.

    Args:
        title: Its title.
        reason: One sentence.
    """

    title: str
    reason: str
