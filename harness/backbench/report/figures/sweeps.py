"""Sweeps: accuracy and attack success against an option of an instance."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final

from backbench.report.figures.canvas import BLUE, RED, canvas, number, short, svg
from backbench.report.figures.figure import Figure
from backbench.report.sweeps import CONTROL, Sweep, sweeps_in
from backbench.results.leaderboard import Row
from backbench.results.statistics import Summary

#: Metrics of a figure of a sweep, each with its title.
_METRICS: Final = (("asr", "ASR"), ("accuracy/clean", "clean accuracy"))


def sweep_figures(rows: Sequence[Row]) -> Iterator[Figure]:
    """Yield a figure for each sweep of a table that has numbers; see :func:`.sweeps_in`."""
    for count, sweep in enumerate(sweeps_in(rows)):
        if any(metric in point.numbers for metric, _ in _METRICS for point in sweep.points):
            yield sweep_figure(sweep, count)


def sweep_figure(line: Sweep, count: int = 0) -> Figure:
    """Draw metrics against a swept option: mean, 95 % interval as a band, control dashed.

    Args:
        line: The sweep.
        count: A number that is part of the figure's name.
    """
    known = [one for one in _METRICS if any(one[0] in point.numbers for point in line.points)]
    columns = [line.option, "n"]
    for metric, title in known:
        columns += [title, f"{title}, 95 % interval"]
        if _has_control(line, metric):
            columns.append(f"{title}, control")
    rows = []
    for point in line.points:
        cells = [f"{point.value:g}", str(len(point.seeds))]
        for metric, _ in known:
            own = point.numbers.get(metric)
            cells += [number(None if own is None else own.mean), _ends(own)]
            if _has_control(line, metric):
                control = point.numbers.get(CONTROL)
                cells.append(number(None if control is None else control.mean))
        rows.append(tuple(cells))
    said = []
    for metric, title in known:
        means = _numbers(line, metric)
        (low, first), (high, last) = [(value, one.mean) for value, one in (means[0], means[-1])]
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


def _has_control(line: Sweep, metric: str) -> bool:
    return metric == "asr" and bool(_numbers(line, CONTROL))


def _numbers(line: Sweep, metric: str) -> list[tuple[float, Summary]]:
    """Return the values that have a number of a metric, each with it."""
    return [
        (point.value, point.numbers[metric]) for point in line.points if metric in point.numbers
    ]


def _ends(summary: Summary | None) -> str:
    if summary is None or summary.ci95 is None:
        return "–"
    return f"[{summary.ci95[0]:.3f}, {summary.ci95[1]:.3f}]"


def _drawn(line: Sweep, known: Sequence[tuple[str, str]]) -> bytes:
    values = [point.value for point in line.points]
    is_wide = min(values) > 0 and math.log10(max(values) / min(values)) >= 1.5
    with canvas(2.5) as figure:
        axes = figure.add_subplot()
        for (metric, title), color in zip(known, (RED, BLUE), strict=False):
            points = _numbers(line, metric)
            x = [value for value, _ in points]
            axes.plot(
                x, [one.mean for _, one in points], "o-", color=color, ms=3.5, lw=1.4, label=title
            )
            ends = [one.ci95 or (one.mean, one.mean) for _, one in points]
            low, high = zip(*ends, strict=True)
            axes.fill_between(x, low, high, color=color, alpha=0.18, lw=0)
            if _has_control(line, metric):
                controls = [(value, one.mean) for value, one in _numbers(line, CONTROL)]
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
