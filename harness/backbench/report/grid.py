"""Tables as text, drawn on a terminal, or by tabulate for Markdown, LaTeX and HTML.

On a terminal no number is cut, and a table that is too wide comes in parts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

from backbench.errors import printable
from backbench.system.escaping import html_text, markdown_text

if TYPE_CHECKING:
    from rich.console import Console


#: Pieces of a text, each with its style.
_Pieces = list[tuple[str, str]]

#: Text of a cell without a number.
_NOTHING = ("", "–")

#: Blanks between two columns.
_GAP = 2

#: LaTeX of the characters that our tables have.
_LATEX = {
    r"\textasciitilde{}": r"$\sim$",
    "~": r"$\sim$",
    "±": r"$\pm$",
    "–": "--",
    "✗": r"$\times$",
    "°": r"$^\circ$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
    "¶": r"\P{}",
}


class Number(NamedTuple):
    """A number, the style that it is shown in, and the text on the lines below, which is dim."""

    text: str
    style: str = ""
    below: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """Content of a table: names and numbers of each line, under their headings.

    The numbers of a group stay side by side; every part of the table repeats the names, which may
    have several lines. A blank
    line follows the lines at the positions ``after``; columns with the headings ``dim`` are dimmed.
    """

    title: str
    names: Sequence[str]
    groups: Sequence[Sequence[str]]
    lines: Sequence[tuple[Sequence[str], Sequence[Number]]]
    after: Collection[int] = ()
    dim: Collection[str] = ()

    @property
    def headings(self) -> list[str]:
        """The headings of all numbers."""
        return [heading for group in self.groups for heading in group]


def print_grid(grid: Grid, console: Console) -> None:
    """Print a table, in as many parts as the terminal is too narrow for.

    Parts after the first have no lines without a number. What is written to a file is in one part.
    """
    from rich.text import Text  # late: a plan is plain text

    for part in _parts(grid, console.width if console.is_terminal else None):
        text = Text.assemble(*_drawn(grid, part, _widths(grid, part)))
        console.print(text, no_wrap=True, overflow="ignore", crop=False, end="\n\n")


def fits(grid: Grid, console: Console) -> bool:
    """Return whether a table needs no parts on a console."""
    width = _total(_widths(grid, range(len(grid.headings))))
    return not console.is_terminal or width <= console.width


def plain_grid(
    header: Sequence[str], lines: Sequence[Sequence[str]], numbers: int, title: str = ""
) -> Grid:
    """Return a grid of plain texts; the last columns hold so many numbers."""
    names = len(header) - numbers
    return Grid(
        title=title,
        names=header[:names],
        groups=[[heading] for heading in header[names:]],
        lines=[(line[:names], [Number(text) for text in line[names:]]) for line in lines],
    )


def as_text(grid: Grid) -> str:
    """Return a table in one part, without styles."""
    part = range(len(grid.headings))
    return printable("".join(piece for piece, _ in _drawn(grid, part, _widths(grid, part))))


def tabulated(
    header: Sequence[str], lines: Sequence[Sequence[str]], style: str, numbers: int
) -> str:
    """Return a table as ``markdown``, ``latex`` or ``html``; a line break in a text is one in HTML.

    The last columns hold so many ``numbers``, which are aligned on the right.
    """
    from tabulate import tabulate

    if style == "html":
        header, *lines = ([html_text(text) for text in line] for line in (header, *lines))
    if style == "markdown":
        header, *lines = ([markdown_text(text) for text in line] for line in (header, *lines))
    form = {"markdown": "github", "latex": "latex_booktabs", "html": "unsafehtml"}[style]
    align = ["left"] * (len(header) - numbers) + ["right"] * numbers
    table = tabulate(lines, header, tablefmt=form, colalign=align, disable_numparse=True)
    # The end of a line, \\\\, takes a bracket that follows for the height of a space.
    return re.sub(r"(?m)^ *\[", "{[}", table) if style == "latex" else table


def latex_symbols(text: str) -> str:
    """Replace the characters of our tables that LaTeX has commands for."""
    for character, command in _LATEX.items():
        text = text.replace(character, command)
    return text


def _parts(grid: Grid, limit: int | None) -> Iterator[list[int]]:
    """Yield the positions of the columns of each part."""
    part: list[int] = []
    start = 0
    for group in grid.groups:
        columns = list(range(start, start + len(group)))
        start += len(group)
        if part and limit is not None and _total(_widths(grid, [*part, *columns])) > limit:
            yield part
            part = []
        part += columns
    yield part


def _widths(grid: Grid, part: Sequence[int]) -> list[int]:
    """Return the widths of the columns of a part, those of the names first."""
    columns = [[name, *(line[0][at] for line in grid.lines)] for at, name in enumerate(grid.names)]
    for at in part:
        numbers = [line[1][at] for line in grid.lines]
        columns.append(
            [grid.headings[at]] + [text for one in numbers for text in (one.text, one.below)]
        )
    return [
        max(cell_len(line) for text in column for line in (text.split("\n"))) for column in columns
    ]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _drawn(grid: Grid, part: Sequence[int], widths: Sequence[int]) -> _Pieces:
    """Draw a part of a table: one text, since a table of rich costs ten times as much."""
    shown = [grid.headings[at] for at in part]
    styles = ["dim" if heading in grid.dim else "" for heading in shown]
    width = _total(widths)
    text: _Pieces = []
    if grid.title:
        text += [(grid.title, "bold"), (" " * (width - len(grid.title)) + "\n", "")]
    heads = [name.split("\n") for name in grid.names]
    _line(text, widths, [one[0] for one in heads], [(heading, "") for heading in shown], "bold")
    for at in range(1, max(map(len, heads), default=1)):
        _line(text, widths, [_at(one, at) for one in heads], [("", "")] * len(shown), "bold")
    text.append(("─" * width + "\n", ""))
    apart = drawn = False
    for position, (names, numbers) in enumerate(grid.lines):
        chosen = [numbers[at] for at in part]
        if 0 in part or not part or any(number.text.strip() not in _NOTHING for number in chosen):
            if apart and drawn:
                text.append((" " * width + "\n", ""))
            apart, drawn = False, True
            tops = [
                (one.text, f"{style} {one.style}")
                for one, style in zip(chosen, styles, strict=True)
            ]
            named = [name.split("\n") for name in names]
            _line(text, widths, [one[0] for one in named], tops)
            below = [one.below.split("\n") if one.below else [] for one in chosen]
            for at in range(max(map(len, [*(one[1:] for one in named), *below]), default=0)):
                rest = [_at(one, at + 1) for one in named]
                _line(text, widths, rest, [(_at(one, at), "dim") for one in below])
        apart = apart or position in grid.after
    text[-1] = text[-1][0].removesuffix("\n"), ""
    return text


def _at(lines: Sequence[str], at: int) -> str:
    return lines[at] if at < len(lines) else ""


def _line(
    text: _Pieces,
    widths: Sequence[int],
    names: Sequence[str],
    numbers: Sequence[tuple[str, str]],
    style: str = "",
) -> None:
    """Add a line: names on the left of their columns, numbers on the right."""
    cells = [(name, style) for name in names] + [(one, f"{style} {own}") for one, own in numbers]
    end = ""
    for at, ((cell, own), width) in enumerate(zip(cells, widths, strict=True)):
        blank = " " * (width - cell_len(cell))
        number = [(blank, ""), (cell, own.strip())]
        text += [(end, ""), *(reversed(number) if at < len(names) else number)]
        end = " " * _GAP
    text.append(("\n", ""))
