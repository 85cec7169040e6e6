"""Tables on a terminal: no number is cut, and a table that is too wide comes in parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: What stands where there is no number.
_NOTHING = ("", "–")

#: Blanks between two columns.
_GAP = 2


@dataclass(frozen=True, slots=True)
class Grid:
    """What a table holds.

    Args:
        title: Above it.
        names: Headings of what names a line; every part of the table repeats them.
        groups: Headings of the numbers; those of one group stay side by side.
        lines: Names and numbers of each line; a cell may have two lines of text.
        after: Positions of the lines that a blank one follows.
        dim: Headings of the columns that stand back.
    """

    title: str
    names: Sequence[str]
    groups: Sequence[Sequence[str]]
    lines: Sequence[tuple[Sequence[str], Sequence[Text]]]
    after: Collection[int] = ()
    dim: Collection[str] = ()


def print_grid(grid: Grid, console: Console) -> None:
    """Print a table, in as many parts as the terminal is too narrow for.

    Parts after the first have no lines without a number. What is written to a file is in one part.
    """
    for part in _parts(grid, console.width if console.is_terminal else None):
        table = _table(grid, part)
        narrow, console.width = console.width, max(console.width, _width(grid, part))
        console.print(table)
        console.print()
        console.width = narrow


def _parts(grid: Grid, limit: int | None) -> Iterator[list[int]]:
    """Yield the positions of the columns of each part."""
    part: list[int] = []
    start = 0
    for group in grid.groups:
        columns = list(range(start, start + len(group)))
        start += len(group)
        if part and limit is not None and _width(grid, [*part, *columns]) > limit:
            yield part
            part = []
        part += columns
    yield part


def _width(grid: Grid, part: Sequence[int]) -> int:
    headings = [heading for group in grid.groups for heading in group]
    names = [
        max([cell_len(name), *(cell_len(line[0][at]) for line in grid.lines)])
        for at, name in enumerate(grid.names)
    ]
    numbers = [
        max([cell_len(headings[at]), *(_wide(line[1][at]) for line in grid.lines)]) for at in part
    ]
    return sum(names) + sum(numbers) + _GAP * (len(names) + len(numbers) - 1)


def _wide(text: Text) -> int:
    return max(map(cell_len, text.plain.split("\n")))


def _table(grid: Grid, part: Sequence[int]) -> Table:
    """Draw a part of a table."""
    table = Table(
        title=grid.title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, _GAP - 1, 0, 0),
    )
    for name in grid.names:
        table.add_column(name, no_wrap=True)
    headings = [heading for group in grid.groups for heading in group]
    for at in part:
        heading = headings[at]
        style = "dim" if heading in grid.dim else ""
        table.add_column(heading, justify="right", no_wrap=True, style=style)
    for position, (names, numbers) in enumerate(grid.lines):
        shown = [numbers[at] for at in part]
        if 0 in part or any(number.plain.strip() not in _NOTHING for number in shown):
            table.add_row(*map(Text, names), *shown)
        if position in grid.after:
            table.add_section()
    return table
