"""Panels of points: clean, poisoned and triggered images on the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from backbench.report.figures.canvas import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    WIDTH,
    canvas,
    plain,
    short,
    svg,
)
from backbench.report.figures.clouds import Cloud
from backbench.report.figures.confusions import MOST_NAMED
from backbench.report.figures.encoders import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OTHERS: Final = "#9a9a9b"

#: Half of the lines of a cross, each by its width and height; a dot has none.
_Pair = tuple[float, float]
_Arms = tuple[_Pair, ...]
_NO_ARMS: Final[_Arms] = ((0.0, 0.0),)


def scatter(
    clouds: Sequence[Cloud], labels: NDArray[np.int64], classes: Sequence[str], target: int | None
) -> bytes:
    """Draw projected features, a panel an encoder; see :func:`.maps.map_figure`."""
    from matplotlib.lines import Line2D

    everything = np.concatenate([one for cloud in clouds for one in cloud.parts if one is not None])
    low, high = everything.min(axis=0), everything.max(axis=0)
    margin = 0.03 * float((high - low).max()) + 1e-9
    low, high = low - margin, high + margin
    wide, tall = (high - low).tolist()
    panel = float(np.clip(WIDTH * tall / wide, 1.5, 3.2))
    arm = 0.03 * wide / WIDTH, 0.03 * tall / panel  # of a cross: .03 inch
    own = labels == (-1 if target is None else target)
    sorts = {"clean" if target is None else "other classes": (_OTHERS, "o")}
    if target is not None:
        sorts["target class"] = BLUE, "o"
    if any(one.poisons is not None for one in clouds):
        sorts["poisons"] = ORANGE, "+"
    if any(one.triggered is not None for one in clouds):
        sorts["triggered"] = RED, "x"
    head, title, count = 0.22 * (len(sorts) > 1), 0.24, len(clouds)
    height = head + count * (panel + title)
    with canvas(height, margins=(0.02, 0.02, 0.02, head + title)) as figure:
        spaces = {"hspace": title / panel}
        grid = figure.subplots(count, 1, squeeze=False, gridspec_kw=spaces)[:, 0]
        for axes, cloud in zip(grid, clouds, strict=True):
            axes.set_xlim(low[0], high[0])
            axes.set_ylim(low[1], high[1])
            axes.set_title(short(cloud.name, 50), loc="left")
            plain(axes)
            if len(sorts) > 1:
                _dots(axes, cloud.clean[~own], _OTHERS)
                _dots(axes, cloud.clean[own], BLUE)
            else:
                _classes(axes, cloud.clean, labels, arm)
            _dots(axes, cloud.poisons, ORANGE, _upright(arm))
            _dots(axes, cloud.triggered, RED, _oblique(arm))
            if len(classes) <= MOST_NAMED:
                known = np.unique(labels)
                means = np.stack([cloud.clean[labels == one].mean(axis=0) for one in known])
                means[:, 1] = apart(means[:, 1], 0.11 / panel * tall)
                for one, (x, y) in zip(known, means, strict=True):
                    text = axes.text(x, y, short(classes[one], 14), fontsize=6.5)
                    text.set(ha="center", va="center", in_layout=False)
        handles = [
            Line2D([], [], color=color, marker=mark, ls="", ms=4) for color, mark in sorts.values()
        ]
        if len(sorts) > 1:
            style = {"ncols": 4, "columnspacing": 1, "borderaxespad": 0}
            figure.legend(handles, list(sorts), loc="upper left", **style)
        return svg(figure)


def apart(heights: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Move heights of labels, (C,), away from each other, to at least some distance."""
    order = np.argsort(heights, kind="stable")
    placed = heights[order].astype(np.float64)
    for _ in range(50):
        gaps = np.maximum(0, least - np.diff(placed)) / 2
        placed[:-1] -= gaps
        placed[1:] += gaps
    moved = np.empty_like(placed)
    moved[order] = placed
    return moved


def _upright(arm: _Pair) -> _Arms:
    return (arm[0] * 1.3, 0.0), (0.0, arm[1] * 1.3)


def _oblique(arm: _Pair) -> _Arms:
    return arm, (arm[0], -arm[1])


def _classes(axes: Axes, points: Floats, labels: NDArray[np.int64], arm: _Pair) -> None:
    """Draw each class in a color, or a color and a cross: so that few are alike."""
    colors = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, _OTHERS)
    crosses = (_NO_ARMS, _upright(arm), _oblique(arm))
    for at, one in enumerate(np.unique(labels)):
        shape, color = divmod(at, len(colors))
        _dots(axes, points[labels == one], colors[color], crosses[shape % len(crosses)])


def _dots(axes: Axes, points: Floats | None, color: str, arms: _Arms = _NO_ARMS) -> None:
    """Draw points, or crosses with two arms, as one path: markers take five times the bytes."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if points is None or not len(points):
        return
    lines = np.asarray(arms)
    ends = np.stack([points[:, None] - lines, points[:, None] + lines], axis=2).reshape(-1, 2)
    path = Path(ends, [Path.MOVETO, Path.LINETO] * (len(ends) // 2))
    path.should_simplify = False
    width, alpha = (2.6, 0.6) if arms is _NO_ARMS else (0.9, 0.85)
    axes.add_patch(PathPatch(path, fc="none", ec=color, lw=width, capstyle="round", alpha=alpha))
