"""Confusion matrices, and the classes that images are wrongly taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from backbench.metrics import Ints, accuracy, confusion_matrix, false_positives
from backbench.report.figures.canvas import (
    BLUE,
    ORANGE,
    RED,
    canvas,
    counted,
    few_ticks,
    plain,
    short,
    svg,
)
from backbench.report.figures.figure import Figure

Row = tuple[str, ...]

#: Most classes whose names and counts are written into a matrix, and that have a row in its table.
MOST_NAMED: Final = 12

#: Most classes of which the false positives are shown.
MOST_BARS: Final = 10


def confusion_figure(
    labels: Ints,
    predicted: Ints,
    classes: Sequence[str],
    *,
    version: str,
    target: int | None = None,
) -> Figure:
    """Draw a confusion matrix: rows are true classes, colors their shares.

    Args:
        labels: True classes of N images, (N,).
        predicted: Predicted classes, (N,).
        classes: Names of the classes.
        version: ``clean`` or ``triggered``: of which images it is.
        target: Target class of the attack; its column is framed.
    """
    counts = confusion_matrix(labels, predicted, len(classes))
    right, images = accuracy(counts), counted(len(labels), f"{version} validation image")
    alternative = f"Confusion matrix of {images}, {len(classes)} classes: accuracy {right:.3f}."
    if target is not None:
        taken = int(false_positives(counts)[target])
        others = int((labels != target).sum())
        alternative += f" {taken:,} of {others:,} images of other classes were taken for the target"
        alternative += f" class {short(classes[target], 60)}."
    columns, rows = _table(counts, classes)
    return Figure(
        f"confusion-{version}",
        f"Confusion matrix, {version} images",
        f"True classes down, predicted classes across; {images}. A color is the share of the true "
        "class" + ("; the target class is framed." if target is not None else "."),
        _matrix(counts, classes, target),
        "image/svg+xml",
        alternative,
        columns,
        rows,
    )


def _matrix(counts: Ints, classes: Sequence[str], target: int | None) -> bytes:
    from matplotlib.patches import Rectangle

    total = len(classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with canvas(3.8, margins=(0.98, 0.12, 0.82, 0.05)) as figure:
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="none", aspect="equal")
        plain(axes)
        if total <= MOST_NAMED:
            names = [short(name, 14) for name in classes]
            axes.set_yticks(range(total), names)
            axes.set_xticks(range(total), names, rotation=45, ha="right", rotation_mode="anchor")
            axes.tick_params(length=0)
            for row, column in zip(*np.nonzero(counts), strict=True):
                color = "white" if shares[row, column] > 0.55 else "black"
                text = axes.text(column, row, str(counts[row, column]), color=color, fontsize=6.5)
                text.set(ha="center", va="center", in_layout=False)
        else:
            axes.set_ylabel("true class")
            axes.set_xlabel("predicted class")
        if target is not None:
            frame = Rectangle((target - 0.5, -0.5), 1, total, fill=False, ec=RED, lw=1.4)
            axes.add_patch(frame)
        return svg(figure)


def _table(
    counts: Ints, classes: Sequence[str]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the whole matrix of a few classes, else the most frequent mistakes."""
    if len(classes) <= MOST_NAMED:
        body = counts.tolist()
        rows = tuple((name, *map(str, row)) for name, row in zip(classes, body, strict=True))
        return ("true class", *classes), rows
    mistakes = counts - np.diag(np.diagonal(counts))
    most = np.argsort(-mistakes, axis=None, kind="stable")[:MOST_NAMED]
    pairs = [divmod(int(at), len(classes)) for at in most if mistakes.flat[at]]
    found = tuple((classes[a], classes[b], str(mistakes[a, b])) for a, b in pairs)
    return ("true class", "predicted class", "images"), found


def false_positive_figure(
    labels: Ints,
    predictions: Mapping[str, Ints],
    classes: Sequence[str],
    target: int | None = None,
) -> Figure:
    """Draw how many images of other classes are taken for each class.

    Args:
        labels: True classes of N images, (N,).
        predictions: Predicted classes, (N,), by their name; at most three. The classes are in the
            order of the last one's false positives.
        classes: Names of the classes.
        target: Target class of the attack; it is marked.
    """
    counts = {
        name: false_positives(confusion_matrix(labels, one, len(classes)))
        for name, one in predictions.items()
    }
    last = list(counts)[-1]
    order = np.argsort(-counts[last], kind="stable")
    shown = [int(one) for one in order[:MOST_BARS]]
    if target is not None and target not in shown:
        shown[-1] = target
    is_part, top = len(shown) < len(classes), shown[0]
    said = f"Most false positives ({last}): {short(classes[top], 60)}, {counts[last][top]:,}."
    if target is not None:
        each = ", ".join(f"{one[target]:,} {name}" for name, one in counts.items())
        said += f" Target class {short(classes[target], 60)}: {each}."
    return Figure(
        "false-positives",
        "False positives by class",
        f"Validation images of other classes that are taken for each class; "
        f"{counted(len(labels), 'image')}."
        + (f" The {len(shown)} classes with the most are shown." if is_part else ""),
        _bars(counts, classes, shown, target),
        "image/svg+xml",
        said,
        ("class", *counts),
        tuple((classes[one], *(str(count[one]) for count in counts.values())) for one in order),
    )


def _bars(
    counts: Mapping[str, Ints], classes: Sequence[str], shown: Sequence[int], target: int | None
) -> bytes:
    height = 0.8 + 0.12 * len(shown) * (1 + len(counts))
    with canvas(height, margins=(1.25, 0.1, 0.45, 0.28)) as figure:
        axes = figure.add_subplot()
        thick = 0.8 / len(counts)
        colors = (ORANGE, BLUE, RED)[-len(counts) :]
        positions = np.arange(len(shown))
        for at, (name, count) in enumerate(counts.items()):
            offset = (at - (len(counts) - 1) / 2) * thick
            axes.barh(positions + offset, count[shown], thick, color=colors[at], label=name)
        axes.set_yticks(positions, [short(classes[one]) for one in shown])
        for at, tick in zip(shown, axes.get_yticklabels(), strict=True):
            if at == target:
                tick.set_fontweight("bold")
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel("images")
        few_ticks(axes.xaxis)
        axes.margins(y=0.02)
        figure.legend(loc="upper left", ncols=len(counts), borderaxespad=0)
        return svg(figure)
