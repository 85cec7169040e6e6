"""Confusion matrices, and the classes that images are wrongly taken for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from backbench.errors import counted
from backbench.metrics import Ints, accuracy, confusion_matrix, false_positives
from backbench.report.figures.canvas import (
    BLUE,
    ORANGE,
    RED,
    short,
)
from backbench.report.figures.figure import Figure
from backbench.report.figures.marks import WIDTH, document, image, rectangle, text

Row = tuple[str, ...]

#: Most classes whose names and counts are written into a matrix, and that have a row in its table.
MOST_NAMED: Final = 12

#: Most classes of which the false positives are shown.
MOST_BARS: Final = 10

#: Left edge of a matrix, its side, and what its classes' names need below it, px.
_LEFT, _SIDE, _BELOW = 88, 290, 66

#: Colors of no image of a class, of half of them and of all.
_SHADES: Final = np.array([[247, 250, 252], [78, 155, 203], [0, 62, 107]], dtype=np.float64)

#: Left edge of bars, room for the number at their end, their height and the gap of classes, px.
_BARS_LEFT, _NUMBER, _THICK, _GAP = 112, 40, 9, 6


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
    total = len(classes)
    cell = _SIDE / total
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    stops = np.linspace(0, 1, len(_SHADES))
    shades = np.stack([np.interp(shares, stops, one) for one in _SHADES.T], axis=2)
    pixels = shades.round().astype(np.uint8)
    parts = [image((_LEFT, 0), (_SIDE, _SIDE), pixels)]
    if total <= MOST_NAMED:
        parts += _named(counts, shares, [short(name, 14) for name in classes])
    else:
        middle = _SIDE / 2
        parts.append(text(_LEFT + middle, _SIDE + 13, "predicted class", anchor="middle"))
        parts.append(text(_LEFT - 8, middle, "true class", anchor="middle", turn=-90))
    if target is not None:
        corner = _LEFT + target * cell, 1.0
        parts.append(rectangle(corner, (cell, _SIDE - 2), RED, 2))
    style = "image{image-rendering:pixelated}.a{fill:#fff}.b{fill:#111}"
    return document("".join(parts), _SIDE + (_BELOW if total <= MOST_NAMED else 18), style)


def _named(counts: Ints, shares: NDArray[np.float64], names: Sequence[str]) -> Iterator[str]:
    """Yield the names of the classes at the left and below, and the counts in the cells."""
    cell = _SIDE / len(names)
    yield '<g text-anchor="end">'
    for at, name in enumerate(names):
        middle = (at + 0.5) * cell + 3
        yield text(_LEFT - 5, middle, name)
        yield text(_LEFT + middle, _SIDE + 9, name, turn=-45)
    yield '</g><g text-anchor="middle">'
    for row, column in zip(*np.nonzero(counts), strict=True):
        x, y = _LEFT + (column + 0.5) * cell, (row + 0.5) * cell + 3
        shade = "a" if shares[row, column] > 0.45 else "b"
        yield text(x, y, str(counts[row, column]), style=shade)
    yield "</g>"


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
    colors = (ORANGE, BLUE, RED)[-len(counts) :]
    longest = max(1, *(int(count[shown].max()) for count in counts.values()))
    scale = (WIDTH - _BARS_LEFT - _NUMBER) / longest
    parts, left = [], 0
    for name, color in zip(counts, colors, strict=True):
        parts.append(rectangle((left, 3), (9, 9), color))
        parts.append(text(left + 13, 11, name))
        left += 28 + 6 * len(name)
    top = 22
    for one in shown:
        middle = top + len(counts) * _THICK / 2 + 3
        name = short(classes[one])
        parts.append(text(_BARS_LEFT - 6, middle, name, bold=one == target, anchor="end"))
        for count, color in zip(counts.values(), colors, strict=True):
            length = count[one] * scale
            parts.append(rectangle((_BARS_LEFT, top), (max(length, 0.5), _THICK - 1), color))
            parts.append(text(_BARS_LEFT + length + 4, top + 7, f"{count[one]:,}"))
            top += _THICK
        top += _GAP
    return document("".join(parts), top)
