"""Curves of a training: loss, feature spread, effective rank, neighbors; beside the clean one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from backbench.errors import counted
from backbench.model import Cell
from backbench.report.figures.canvas import (
    BLUE,
    ORANGE,
    RED,
    canvas,
    few_ticks,
    listed,
    number,
    short,
    svg,
)
from backbench.report.figures.encoders import encoders_of, training_of
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.opened import Opened
from backbench.system.json_text import from_json

TITLE = "Training curves"

#: The log of a training, one record an epoch.
Log = Sequence[Mapping[str, float]]

_PANELS: Final = (
    ("loss", "loss"),
    ("feature_spread", "feature spread"),
    ("effective_rank", "effective rank"),
)
_NEIGHBORS: Final = (
    ("knn_accuracy", "clean", "-"),
    ("knn_accuracy_triggered", "triggered", "--"),
    ("knn_asr", "success rate", ":"),
)

#: Most epochs of a training that have a row in the table.
_ROWS: Final = 8


def curves_figure(logs: Mapping[str, Log]) -> Figure:
    """Draw the curves of trainings.

    Args:
        logs: The log of each, by its name; at most three.
    """
    columns = ("training", "epoch", *(name for name, _ in _PANELS), *(n for n, _, _ in _NEIGHBORS))
    rows = [
        (name, str(int(one["epoch"]) + 1), *(number(one.get(key)) for key in columns[2:]))
        for name, log in logs.items()
        for one in _some(log)
    ]
    lengths = listed([f"{counted(len(log), 'epoch')} of {name}" for name, log in logs.items()])
    return Figure(
        "training-curves",
        TITLE,
        "Loss, spread and effective rank of features, and the vote of nearest neighbors, on "
        f"training images, after each epoch; {lengths}. Success rate: share of triggered images of "
        "other classes that neighbors vote into the target class.",
        _drawn(logs),
        "image/svg+xml",
        " ".join(_said(name, log[-1]) for name, log in logs.items()),
        columns,
        tuple(rows),
    )


def _some(log: Log) -> Log:
    """Return the epochs of a log that have a row: those with a vote of neighbors, or the last."""
    known = [one for one in log if "knn_accuracy" in one] or list(log[-1:])
    step = -(-len(known) // _ROWS)
    return known[::-1][::step][::-1]


def _said(name: str, last: Mapping[str, float]) -> str:
    parts = [f"{title} {last[key]:.3g}" for key, title in _PANELS if key in last]
    parts += [f"k-NN {what} {last[key]:.3f}" for key, what, _ in _NEIGHBORS if key in last]
    return f"After the last epoch of {short(name, 60)}: {listed(parts)}."


def _drawn(logs: Mapping[str, Log]) -> bytes:
    from matplotlib.lines import Line2D

    colors = dict(zip(logs, (RED, BLUE, ORANGE), strict=False))
    with canvas(3.6, margins=(0.42, 0.08, 0.72, 0.52)) as figure:
        grid = figure.subplots(2, 2, sharex=True, gridspec_kw={"wspace": 0.3, "hspace": 0.28})
        for axes, (key, title) in zip(grid.flat, (*_PANELS, ("", "k-NN vote")), strict=True):
            lines = _NEIGHBORS if not key else ((key, "", "-"),)
            for name, log in logs.items():
                for values, _, style in lines:
                    known = [(one["epoch"] + 1, one[values]) for one in log if values in one]
                    if known:
                        marker = "." if len(known) < 2 else None
                        axes.plot(
                            *zip(*known, strict=True),
                            style,
                            color=colors[name],
                            lw=1.3,
                            marker=marker,
                        )
            axes.set_title(title, loc="left")
            axes.grid(axis="y")
            few_ticks(axes.xaxis, 4)
            axes.locator_params(axis="y", nbins=4)
            if not key:
                axes.set_ylim(-0.02, 1.02)
        for axes in grid[1]:
            axes.set_xlabel("epoch")
        handles = [Line2D([], [], color=color, lw=1.3) for color in colors.values()]
        names = [short(one, 24) for one in colors]
        figure.legend(handles, names, loc="upper left", ncols=3, borderaxespad=0)
        if any("knn_accuracy" in one for log in logs.values() for one in log):
            styles = [Line2D([], [], color="#808081", ls=style, lw=1.3) for *_, style in _NEIGHBORS]
            whats = [f"k-NN {what}" for _, what, _ in _NEIGHBORS]
            figure.legend(styles, whats, loc="lower left", ncols=3, borderaxespad=0)
        return svg(figure)


def curve_figures(opened: Opened, cell: Cell) -> Iterator[Figure | Missing]:
    """Yield the curves of the trainings that a cell's encoders come from."""
    if opened.store is None:
        yield Missing(TITLE, "A bundle has no training logs.")
        return
    encoders = encoders_of(opened, cell)
    logs: dict[str, Log] = {}
    for key, name in encoders.names.items():
        training = training_of(opened, key)
        log = None if training is None else _log(opened, training)
        if log and log not in logs.values():
            logs[name] = log
    if not logs:
        yield Missing(TITLE, "No training log of this cell is in the store.")
        return
    yield opened.once(("curves", *encoders.names.items()), lambda: curves_figure(logs))


def _log(opened: Opened, key: str) -> Log | None:
    content = opened.content(key, "log.jsonl")
    try:
        return None if content is None else [from_json(line) for line in content.splitlines()]
    except ValueError:
        return None
