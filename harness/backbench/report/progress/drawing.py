"""The live view of a run as text: its matrix, its running stages, its remaining time. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from backbench.report.progress.remaining import clock, left
from backbench.report.progress.state import Running, RunState

#: Sign and style of a cell, by what has become of it.
_SIGNS = {
    "done": ("■", "green"),
    "running": ("▪", "yellow"),
    "waiting": ("·", "dim"),
    "failed": ("✗", "bold red"),
}

#: Heights of a sparkline.
_BARS = "▁▂▃▄▅▆▇█"

#: Columns of a sparkline, and of the numbers to the right of a stage's label.
_SPARK, _NUMBERS = 10, 41

#: Widest name of a method, and narrowest box of its cells under an attack.
_NAME, _BOX = 18, 7

#: Names of what training logs, as there is room for.
SHORT = {
    "feature_spread": "spread",
    "effective_rank": "rank",
    "knn_accuracy": "k-NN",
    "knn_accuracy_triggered": "k-NN triggered",
    "knn_asr": "k-NN ASR",
    "resumed": "goes on after epoch",
}


def draw(state: RunState, now: float, width: int, height: int) -> Text:
    """Return the view, in at most so many columns and lines."""
    running = list(state.running.values())[: max(1, height - 6)]
    lines = [_head(state, now, width)]
    lines += list(_matrix(state, width, height - len(running) - 3))
    lines += [_stage(one, state, now, width) for one in running]
    return Text("\n").join(lines[:height])


def _head(state: RunState, now: float, width: int) -> Text:
    total = len(state.stages)
    end = f" {state.over}/{total} stages · {clock(now - state.began)} elapsed"
    end += left(state.seconds_left(now), " · ")
    name = state.benchmark[: max(8, width // 4)]
    room = width - cell_len(name) - cell_len(end) - 1
    text = Text(name, "bold")
    if room >= 5:
        full = room * state.over // max(1, total)
        text.append(" ").append("━" * full, "green").append("─" * (room - full), "dim")
    return text.append(end)


def _matrix(state: RunState, width: int, height: int) -> Iterator[Text]:
    """Yield a line for each method: a box for each attack, a sign for each of its cells."""
    boxes: dict[str, dict[str, list[str]]] = {}
    attacks = list(dict.fromkeys(cell.name.attack for cell in state.cells))
    for cell in state.cells:
        row = boxes.setdefault(cell.name.method, {attack: [] for attack in attacks})
        row[cell.name.attack].append(state.cell(cell))
    if not boxes or height < 3:
        return
    first = min(_NAME, max(map(cell_len, boxes))) + 2
    if (width - first) // len(attacks) < _BOX:  # too many: all attacks of a method in one box
        merged = {name: [one for box in row.values() for one in box] for name, row in boxes.items()}
        boxes = {name: {"": box} for name, box in merged.items()}
        attacks = [""]
    most = max(len(box) for row in boxes.values() for box in row.values())
    each = min((width - first) // len(attacks), max(most, *map(cell_len, attacks)) + 2)
    head = Text(" " * first, "dim")
    for attack in attacks:
        head.append(set_cell_size(_cut(attack, each - 1), each))
    yield head
    shown = list(boxes.items())[: height - 2]
    for name, row in shown:
        line = Text(set_cell_size(_cut(name, first - 1), first))
        for attack in attacks:
            line.append(_box(row[attack], each))
        yield line
    legend = "  ".join(f"{sign} {word}" for word, (sign, _) in _SIGNS.items())
    more = len(boxes) - len(shown)
    yield Text(f"{' ' * first}{legend}{f'  ({more} more methods)' if more else ''}"[:width], "dim")


def _box(states: Sequence[str], width: int) -> Text:
    """Return the signs of the cells of a box, or their count where there is no room."""
    text = Text()
    if len(states) < width:
        for one in states:
            text.append(*_SIGNS[one])
    else:
        done, failed = states.count("done"), states.count("failed")
        text.append(f"{done}/{len(states)}", "green" if done == len(states) else "")
        if failed:
            text.append(f" {_SIGNS['failed'][0]}{failed}", "red")
    text.truncate(width - 1)
    text.append(" " * (width - text.cell_len))
    return text


def _stage(one: Running, state: RunState, now: float, width: int) -> Text:
    """Return the line of a stage: label, losses, the last of them, rate, share, rest."""
    room = max(12, width - _NUMBERS)
    text = Text(set_cell_size(_cut(one.stage.label, room - 1), room))
    loss = f"{one.losses[-1]:.3g}" if one.losses else ""
    text.append(f"{sparkline(one.losses, _SPARK):{_SPARK}}", "cyan").append(f" {loss:>6}")
    text.append(f" {_rate(one):>12}")
    text.append(f" {one.fraction:4.0%}" if one.total else "     ", "bold")
    left = clock(state.remaining.of(one.stage.key, now)) if one.total else ""
    return text.append(f" {left:>5}", "dim")


def _rate(one: Running) -> str:
    if (images := one.images_per_s) is not None:
        return f"{images:,.0f} img/s"
    return f"{one.rate:,.3g}/s" if one.rate is not None else ""


def sparkline(values: Sequence[float], columns: int) -> str:
    """Return values as a line of bars, of each part of them the last; ``?`` if not finite."""
    if len(values) > columns:
        values = [values[(at + 1) * len(values) // columns - 1] for at in range(columns)]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "?" * len(values)
    low, span = min(finite), (max(finite) - min(finite)) or 1.0
    top = len(_BARS) - 1
    return "".join(
        _BARS[round(top * (value - low) / span)] if math.isfinite(value) else "?"
        for value in values
    )


def shortly(values: Mapping[str, float]) -> str:
    """Return values of a training in a few words: ``loss 1.25 spread 0.9``."""
    return " ".join(
        f"{SHORT.get(name, name)} {value:.3g}" for name, value in values.items() if name != "epoch"
    )


def _cut(text: str, width: int) -> str:
    """Return a text in at most so many columns; what is cut ends with ``…``."""
    return text if cell_len(text) <= width else f"{set_cell_size(text, max(0, width - 1))}…"
