"""Sweeps: accuracy and attack success against an option of an instance."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from backbench.benchmark.sweeps import MARK
from backbench.model import Axis
from backbench.report.figures.canvas import BLUE, RED, canvas, number, short, svg
from backbench.report.figures.figure import Figure
from backbench.results.leaderboard import Row
from backbench.results.statistics import Summary

#: Metrics of a figure of a sweep, each with its title.
_METRICS: Final = (("asr", "ASR"), ("accuracy/clean", "clean accuracy"))

_SWEPT: Final = re.compile(
    rf"{MARK}(?P<option>[^{MARK}]+?)-(?P<value>-?[\d.]+(?:e-?\d+)?)(?={MARK}|:|$)"
)


@dataclass(frozen=True, slots=True)
class Line:
    """Rows that differ in one swept option alone.

    Args:
        option: Its path: ``attack.rate.value``.
        others: What names the rows otherwise: those names that are not ``none``.
        points: Value and row, by rising value.
    """

    option: str
    others: tuple[str, ...]
    points: tuple[tuple[float, Row], ...]

    @property
    def title(self) -> str:
        """The names, for people."""
        return " · ".join(self.others)


def sweep_lines(rows: Sequence[Row]) -> list[Line]:
    """Return the lines of a table: sets of at least two rows that differ in one swept option.

    A row of several swept options is on a line of each of them.
    """
    lines: dict[tuple[str, tuple[str, ...]], dict[float, Row]] = {}
    for row in rows:
        for axis in Axis:
            name = row.names.get(axis, "")
            for found in _SWEPT.finditer(name):
                rest = name[: found.start()] + name[found.end() :]
                others = {**row.names, axis.value: rest}
                kept = tuple(one for one in others.values() if one != "none")
                key = f"{axis.value}.{found['option']}", kept
                lines.setdefault(key, {})[float(found["value"])] = row
    return [
        Line(option, others, tuple(sorted(points.items(), key=lambda one: one[0])))
        for (option, others), points in lines.items()
        if len(points) > 1
    ]


def sweep_figures(rows: Sequence[Row]) -> Iterator[Figure]:
    """Yield a figure for each line of a table that has numbers; see :func:`sweep_lines`."""
    for count, line in enumerate(sweep_lines(rows)):
        if any(metric in row.values for metric, _ in _METRICS for _, row in line.points):
            yield sweep_figure(line, count)


def sweep_figure(line: Line, count: int = 0) -> Figure:
    """Draw metrics against a swept option: mean, 95 % interval as a band, control dashed.

    Args:
        line: The rows.
        count: A number that is part of the figure's name.
    """
    known = [one for one in _METRICS if any(one[0] in row.values for _, row in line.points)]
    columns = [line.option, "n"]
    for metric, title in known:
        columns += [title, f"{title}, 95 % interval"]
        if _has_control(line, metric):
            columns.append(f"{title}, control")
    rows = []
    for value, row in line.points:
        cells = [f"{value:g}", str(len(row.seeds))]
        for metric, _ in known:
            own = row.values.get(metric)
            cells += [number(None if own is None else own.mean), _ends(own)]
            if _has_control(line, metric):
                control = row.controls.get(metric)
                cells.append(number(None if control is None else control.mean))
        rows.append(tuple(cells))
    said = []
    for metric, title in known:
        means = [
            (value, row.values[metric].mean) for value, row in line.points if metric in row.values
        ]
        (low, first), (high, last) = means[0], means[-1]
        said.append(f"{title} {first:.3f} at {low:g} and {last:.3f} at {high:g}")
    return Figure(
        f"sweep-{count}-{re.sub('[^a-z0-9]+', '-', line.option.lower())}",
        f"{short(line.option, 60)}: {short(line.title, 80)}",
        f"{' and '.join(title for _, title in known)} against {short(line.option, 60)}: mean over "
        "seeds, 95 % interval as a band; dashed: the control.",
        _drawn(line, known),
        "image/svg+xml",
        f"{short(line.title, 100)}, against {short(line.option, 60)}: {'; '.join(said)}.",
        tuple(columns),
        tuple(rows),
    )


def _has_control(line: Line, metric: str) -> bool:
    return metric == "asr" and any(metric in row.controls for _, row in line.points)


def _ends(summary: Summary | None) -> str:
    if summary is None or summary.ci95 is None:
        return "–"
    return f"[{summary.ci95[0]:.3f}, {summary.ci95[1]:.3f}]"


def _drawn(line: Line, known: Sequence[tuple[str, str]]) -> bytes:
    values = [value for value, _ in line.points]
    is_wide = min(values) > 0 and math.log10(max(values) / min(values)) >= 1.5
    with canvas(2.5) as figure:
        axes = figure.add_subplot()
        for (metric, title), color in zip(known, (RED, BLUE), strict=False):
            points = [
                (value, row.values[metric]) for value, row in line.points if metric in row.values
            ]
            x = [value for value, _ in points]
            axes.plot(
                x, [one.mean for _, one in points], "o-", color=color, ms=3.5, lw=1.4, label=title
            )
            ends = [one.ci95 or (one.mean, one.mean) for _, one in points]
            low, high = zip(*ends, strict=True)
            axes.fill_between(x, low, high, color=color, alpha=0.18, lw=0)
            if _has_control(line, metric):
                controls = [
                    (value, row.controls[metric].mean)
                    for value, row in line.points
                    if metric in row.controls
                ]
                axes.plot(
                    *zip(*controls, strict=True),
                    "--",
                    color=color,
                    lw=1.2,
                    label=f"{title}, control",
                )
        if is_wide:
            axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set_xticks([], minor=True)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(short(line.option, 40))
        axes.grid(axis="y")
        figure.legend(loc="outside upper left", ncols=3)
        return svg(figure)
