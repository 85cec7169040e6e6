"""A metric of the rows of a table: mean, 95 % interval, control."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from backbench.errors import counted
from backbench.model import NONE, Axis
from backbench.report.figures.canvas import (
    BLUE,
    RED,
    canvas,
    number,
    short,
    svg,
)
from backbench.report.figures.figure import Figure
from backbench.report.tables import origins_of
from backbench.results.filtering import differing
from backbench.results.leaderboard import Row

#: Metrics that have a figure, each with its title.
_METRICS: Final = (("asr", "Attack success rate"), ("accuracy/clean", "Clean accuracy"))

#: Most rows of a table that are drawn: the first.
MOST_ROWS: Final = 40


def interval_figures(rows: Sequence[Row]) -> Iterator[Figure]:
    """Yield a figure for each metric that at least one row of a table has."""
    for metric, title in _METRICS:
        known = [row for row in rows if metric in row.values]
        if known:
            yield interval_figure(known, metric, title)


def interval_figure(rows: Sequence[Row], metric: str, title: str) -> Figure:
    """Draw a metric of rows that have it.

    Args:
        rows: The rows; the first of them are drawn, and all are in the table. What tells them
            apart names them; what they have in common is in the caption.
        metric: A share in [0, 1].
        title: Its title.
    """
    apart, origins = differing(row.names for row in rows) or list(Axis), origins_of(rows)
    bare = [_joined(row, apart) or NONE for row in rows]
    marks = [" §" * bool(row.outdated) + origins.get(row.origin, "") for row in rows]
    names = [name + mark for name, mark in zip(bare, marks, strict=True)]
    table = []
    for name, row in zip(names, rows, strict=True):
        own, control = row.values[metric], row.controls.get(metric)
        ends = "–" if own.ci95 is None else f"[{own.ci95[0]:.3f}, {own.ci95[1]:.3f}]"
        table.append(
            (
                name,
                str(own.n),
                number(own.mean),
                ends,
                number(None if control is None else control.mean),
            )
        )
    drawn = rows[:MOST_ROWS]
    labels = [f"{short(name, 38)}{mark}" for name, mark in zip(bare, marks, strict=True)]
    highest, best = max(zip(rows, names, strict=True), key=lambda pair: pair[0].values[metric].mean)
    common = _joined(rows[0], (axis for axis in Axis if axis not in apart))
    notes = ["§ outdated"] * any(row.outdated for row in rows)
    notes += [f"{mark.strip()} imported: {short(origin, 60)}" for origin, mark in origins.items()]
    part = f"the first {MOST_ROWS} of {len(rows)} rows" if len(rows) > MOST_ROWS else "all rows"
    return Figure(
        f"intervals-{metric.replace('/', '-')}",
        title,
        f"Mean over seeds and 95 % interval; ticks are controls; {part} that have it"
        f"{', of ' * bool(common)}{'; '.join([short(common, 100), *notes])}.",
        _drawn(drawn, labels[:MOST_ROWS], metric, title),
        "image/svg+xml",
        f"{title} of {counted(len(rows), 'row')}: highest {highest.values[metric].mean:.3f}, of "
        f"{short(best, 100)}.",
        ("row", "n", "mean", "95 % interval", "control"),
        tuple(table),
    )


def _joined(row: Row, axes: Iterable[Axis]) -> str:
    """Return the names of a row on some axes, for people."""
    return " · ".join(name for axis in axes if (name := row.names[axis]) != NONE)


def _drawn(rows: Sequence[Row], labels: Sequence[str], metric: str, title: str) -> bytes:
    with canvas(0.6 + 0.19 * len(rows)) as figure:
        axes = figure.add_subplot()
        for at, row in enumerate(rows):
            own = row.values[metric]
            low, high = own.ci95 or (own.mean, own.mean)
            axes.plot([low, high], [at, at], color=BLUE, lw=1.6, solid_capstyle="butt")
        positions = range(len(rows))
        means = [row.values[metric].mean for row in rows]
        axes.plot(means, positions, "o", color=BLUE, ms=3.5)
        controls = [
            (row.controls[metric].mean, at) for at, row in enumerate(rows) if metric in row.controls
        ]
        if controls:
            axes.plot(*zip(*controls, strict=True), "|", color=RED, ms=8, mew=1.8)
        axes.set_yticks(positions, labels)
        axes.tick_params(axis="y", length=0, labelsize=6.5)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel(title)
        axes.grid(axis="x")
        return svg(figure)
