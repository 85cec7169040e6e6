"""Comparisons as text: a table, Markdown, JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from backbench.errors import UsageError, counted
from backbench.model import NONE
from backbench.report.console import make_console
from backbench.report.grid import Grid, Number, fits, plain_grid, print_grid, tabulated
from backbench.report.numbers import interval, number, spread
from backbench.report.results import Results
from backbench.results.compare import Comparison, Limit, Unpaired
from backbench.results.leaderboard import Leaderboard, decimals_of
from backbench.results.statistics import FEW
from backbench.system.escaping import markdown_text
from backbench.system.json_text import to_json

NOTE = (
    "difference: {sides}, paired by seed and image; interval: Student's t over seeds and "
    "images (~: over seeds only, the images differ); p: of no difference, a t error of the "
    "seeds and a normal one of the images; p Holm: corrected for all {family} comparisons; d_z: "
    "mean over standard deviation of the seeds' differences; * fewer than 3 seeds"
)

HEADER = ("n", "A", "B", "A - B", "95 % interval", "d_z", "p", "p Holm")


def _table(found: Sequence[Comparison], sides: str) -> tuple[list[str], list[list[str]], str]:
    """Return header, lines and note of a table."""
    several = len({one.names.get("dataset") for one in found}) > 1
    fields = [
        name
        for name in found[0].names
        if (several if name == "dataset" else any(one.names[name] != NONE for one in found))
    ]
    lines = []
    for one in found:
        decimals = decimals_of(one.metric)
        few = " *" if one.difference.n < FEW else ""
        lines.append(
            [
                *(one.names[name] for name in fields),
                one.metric,
                f"{one.difference.n}{few}",
                spread(one.left, decimals),
                spread(one.right, decimals),
                f"{'+' if one.difference.mean > 0 else ''}{number(one.difference.mean, decimals)}",
                interval(one.difference, decimals) or "–",
                "–" if one.effect is None else f"{one.effect:+.2f}",
                _p(one.p_value),
                _p(one.corrected),
            ]
        )
    note = NOTE.format(sides=sides, family=sum(one.p_value is not None for one in found))
    return [*(name.capitalize() for name in fields), "Metric", *HEADER], lines, note


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "<.001" if value < 0.0005 else number(value, 3)


def markdown(found: Sequence[Comparison], sides: str) -> str:
    """Return a Markdown table and its note."""
    header, lines, note = _table(found, markdown_text(sides))
    return f"{tabulated(header, lines, 'markdown', len(HEADER))}\n\n{note}"


def as_json(found: Sequence[Comparison], left: str, right: str, broken: Sequence[str]) -> str:
    """Return JSON: every comparison with the difference of each seed, and the broken limits."""
    rows: list[dict[str, Any]] = [
        {
            **one.names,
            "metric": one.metric,
            "a": asdict(one.left),
            "b": asdict(one.right),
            "difference": asdict(one.difference),
            "d_z": one.effect,
            "p": one.p_value,
            "p_holm": one.corrected,
        }
        for one in found
    ]
    return to_json({"a": left, "b": right, "comparisons": rows, "exceeded": broken}, indent=2)


def show(found: Sequence[Comparison], sides: str, style: str) -> None:
    """Print comparisons on stdout, as a ``table`` or as ``markdown``; ``sides`` is the title."""
    if style == "markdown":
        print(markdown(found, sides))  # noqa: T201
        return
    console = make_console()
    header, lines, note = _table(found, sides)
    grid = plain_grid(header, lines, len(HEADER), f"A less B: {sides}")
    if not fits(grid, console):
        grid = _narrow(grid)
        note += "; below A and B their deviations, below A - B its interval, below p its p Holm"
    print_grid(grid, console)
    console.print(Text(note, "dim"), soft_wrap=not console.is_terminal)


def _narrow(grid: Grid) -> Grid:
    """Return a table for a narrow terminal: the names of a row one below the other, and numbers."""
    lines = []
    for names, texts in grid.lines:
        n, left, right, difference, ends, effect, p, corrected = (one.text for one in texts)
        sides = (text.partition(" ") for text in (left, right))
        numbers = [
            Number(n),
            *(Number(mean, below=deviation) for mean, _, deviation in sides),
            Number(difference, below=ends.removeprefix("–")),
            Number(effect),
            Number(p, below=corrected.removeprefix("–")),
        ]
        lines.append((["\n".join(names)], numbers))
    groups = [[heading] for heading in HEADER if heading not in {"95 % interval", "p Holm"}]
    return Grid(grid.title, ["\n".join(grid.names)], groups, lines, after=range(len(lines)))


#: How many numbers a warning names.
_NAMED = 3


def warnings(found: Sequence[Comparison], left_out: Sequence[Unpaired] = ()) -> Iterator[str]:
    """Yield which comparisons can show little, and what could not be compared."""
    lost = [one for one in left_out if not one.left & one.right]
    fewer = [one for one in left_out if one.left & one.right]
    if lost:
        yield f"{counted(len(lost), 'number')} of one side not compared: {_named(lost)}"
    if fewer:
        yield f"{counted(len(fewer), 'number')} compared on fewer seeds: {_named(fewer)}"
    single = sum(one.difference.n == 1 for one in found)
    alike = sum(one.p_value is None for one in found) - single
    few = sum(one.difference.n < FEW for one in found) - single
    if single:
        yield (
            f"{single} of {len(found)} comparisons have one seed in common and cannot be "
            "tested: run at least two, better three"
        )
    if alike:
        yield (
            f"{alike} of {len(found)} comparisons differ alike at every seed, without outcomes on "
            "the same images, and cannot be tested: run more seeds"
        )
    if few:
        yield f"{few} of {len(found)} comparisons have two seeds: run at least three"


def _named(left_out: Sequence[Unpaired]) -> str:
    names = [f"{one.label} ({one.where})" for one in left_out[:_NAMED]]
    return ", ".join([*names, *["…"] * (len(left_out) > _NAMED)])


def sentence(bound: Limit, found: Comparison) -> str:
    """Return the sentence on a limit that is exceeded."""
    value = number(found.difference.mean, 4)
    return f"{found.label} exceeds {bound.text!r} beyond doubt: the difference is {value}"


def comparable(results: Results, filters: Sequence[str], where: object) -> Leaderboard:
    """Return our own rows of the present revisions, of which at least one has a number."""
    own = results.own(outdated=False)
    if not any(row.seeds for row in own):
        raise UsageError(f"{where}: no finished cell of {own.board.benchmark!r} yet")
    return own.filter(*filters).board
