"""One metric of a leaderboard as a heat map: methods by attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from string import ascii_lowercase

from rich.cells import cell_len, set_cell_size
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from backbench.errors import UsageError, printable
from backbench.model import NONE, Axis
from backbench.plugin import Column
from backbench.plugin.infos import OWN_METRICS
from backbench.report.console import make_console
from backbench.report.defenses import trade_off_sheet
from backbench.report.numbers import number
from backbench.report.sheet import Sheet, print_sheet, remarks_of
from backbench.report.sweeps import sweep_sheet
from backbench.results.leaderboard import Leaderboard, Row

#: Colors of the map from its least to its greatest value: anchors of cividis, which readers with
#: any color vision tell apart (Nuñez, Anderton and Renslow, 2018).
_COLORS = ((0, 34, 78), (61, 78, 107), (124, 123, 120), (188, 174, 108), (254, 232, 56))

#: The same where there is no color.
_SHADES = " ░▒▓█"

#: Fields that are no axis of the map.
_OTHERS = (Axis.DATASET, Axis.DOWNSTREAM, Axis.DEFENSE, Axis.EVALUATOR)

#: Most columns of a method's name.
_NAME = 24


#: Tables that are made of a leaderboard, by the option of ``show`` that requests them.
_SHEETS: Mapping[str | None, Callable[[Leaderboard], Sheet]] = {
    "trade-off": trade_off_sheet,
    "sweep": sweep_sheet,
}


def print_instead(board: Leaderboard, view: str | None, metric: str | None, style: str) -> bool:
    """Print what is made of a leaderboard in its place; return whether that was requested."""
    if metric is not None:
        print_map(board, metric, make_console())
    elif view in _SHEETS:
        print_sheet(_SHEETS[view](board), style)
    return metric is not None or view in _SHEETS


def print_map(board: Leaderboard, metric: str, console: Console) -> None:
    """Print a map for each dataset, defense and evaluator, of the means over seeds.

    Raises:
        UsageError: If no comparable row has the metric.
    """
    rows = [row for row in board.rows if row.comparable and metric in row.values]
    remarks = remarks_of(board)
    if not rows:
        raise UsageError("; ".join((f"--map {metric}: no finished row has this metric", *remarks)))
    column = next((one for one in board.columns if one.metric == metric), Column(metric, metric))
    low, high = _bounds(column, [row.values[metric].mean for row in rows])
    maps: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        maps.setdefault((row.protocol, *(row.names[axis] for axis in _OTHERS)), []).append(row)
    for names, part in maps.items():
        pairs = zip(_OTHERS, names[1:], strict=True)
        title = [f"{axis} {name}" for axis, name in pairs if name != NONE]
        console.print(Text(" · ".join((board.benchmark, column.title, *title)), "bold"))
        for line in _lines(part, column, (low, high), console):
            console.print(line, no_wrap=True, overflow="ignore", crop=False)
        console.print()
    scale = Text(f"{number(low, column.decimals)} ")
    for step in range(5):
        scale.append_text(_cell("    ", step / 4, console))
    scale.append(f" {number(high, column.decimals)}; means over seeds")
    console.print(scale)
    for remark in remarks:
        console.print(Text(printable(remark), "dim"), soft_wrap=not console.is_terminal)


def _lines(
    rows: Sequence[Row], column: Column, bounds: tuple[float, float], console: Console
) -> Iterator[Text]:
    methods = list(dict.fromkeys(row.names[Axis.METHOD] for row in rows))
    attacks = list(dict.fromkeys(row.names[Axis.ATTACK] for row in rows))
    found: Mapping[tuple[str, str], float] = {
        (row.names[Axis.METHOD], row.names[Axis.ATTACK]): row.values[column.metric].mean
        for row in rows
    }
    first = min(_NAME, max(map(cell_len, methods))) + 2
    width = max(7, *(cell_len(attack) + 2 for attack in attacks))
    keyed = console.is_terminal and first + width * len(attacks) > console.width
    heads = [_letter(at) for at in range(len(attacks))] if keyed else attacks
    width = 7 if keyed else width
    each = max(1, (console.width - first) // width) if console.is_terminal else len(attacks)
    for start in range(0, len(attacks), each):
        part = range(start, min(start + each, len(attacks)))
        yield Text(" " * first + "".join(f"{heads[at]:^{width}}" for at in part), "bold")
        for method in methods:
            line = Text(set_cell_size(method, first - 1) + " ")
            for at in part:
                value = found.get((method, attacks[at]))
                shown = "–" if value is None else number(value, column.decimals)
                share = None if value is None else _share(value, bounds)
                line.append_text(_cell(f"{shown:^{width}}", share, console))
            yield line
    if keyed:
        key = "  ".join(f"{head} {attack}" for head, attack in zip(heads, attacks, strict=True))
        yield Text(key, "dim")


def _cell(text: str, share: float | None, console: Console) -> Text:
    """Return a cell in the color of its share of the scale; without colors, with a shade."""
    if share is None:
        return Text(text, "dim")
    if console.color_system is None:
        shade = _SHADES[round(share * (len(_SHADES) - 1))]
        return Text(f"{shade}{text[1:]}")
    at = share * (len(_COLORS) - 1)
    below = min(int(at), len(_COLORS) - 2)
    red, green, blue = (
        round(one + (other - one) * (at - below))
        for one, other in zip(_COLORS[below], _COLORS[below + 1], strict=True)
    )
    ink = "white" if share < 0.45 else "black"
    style = Style(color=ink, bgcolor=Color.from_rgb(red, green, blue))
    return Text(text, style)


def _share(value: float, bounds: tuple[float, float]) -> float:
    low, high = bounds
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5


def _bounds(column: Column, values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the scale: those of a share, else of the values that there are."""
    low, high = column.bounds or OWN_METRICS.get(column.metric, (0.0, float("inf")))
    return (low, high) if (low, high) == (0.0, 1.0) else (min(values), max(values))


def _letter(at: int) -> str:
    """Return ``a`` to ``z``, then ``aa`` and so on."""
    letters = len(ascii_lowercase)
    return (_letter(at // letters - 1) if at >= letters else "") + ascii_lowercase[at % letters]
