"""Nearest training images of triggered images, under each encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from backbench.images import Pixels
from backbench.model import Cell
from backbench.nn.knn import unit
from backbench.report.figures.canvas import BLUE, RED, short
from backbench.report.figures.encoders import Encoders, Floats, encoders_of, features_of
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.images import (
    NO_IMAGES,
    UNREADABLE,
    class_name,
    shared_inputs,
    triggered_images,
    why,
)
from backbench.report.figures.opened import Opened
from backbench.report.figures.tiles import Tile, sheet
from backbench.store.metadata import PoisonRecord

TITLE = "Nearest neighbors of triggered images"

#: Number of triggered images, and of neighbors of each.
QUERIES: Final = 2
NEIGHBORS: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Neighborhood:
    """A triggered image and its neighbors under one encoder.

    Args:
        encoder: Name of the encoder.
        query: The triggered image, and its class.
        neighbors: The nearest training images, the nearest first, each with its class.
        cosines: Their cosine similarities to the query.
    """

    encoder: str
    query: tuple[Pixels, int]
    neighbors: Sequence[tuple[Pixels, int]]
    cosines: Sequence[float]


def nearest(bank: Floats, query: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the indices and cosines of the nearest rows of a bank, (N, D), to a vector, (D,)."""
    cosines = unit(bank) @ unit(query[None])[0]
    order = np.argsort(-cosines, kind="stable")[:count]
    return order, cosines[order]


def neighbor_figure(
    found: Sequence[Neighborhood], classes: Sequence[str], target: int | None
) -> Figure:
    """Draw triggered images with their nearest clean training images.

    Args:
        found: A neighborhood for each row of the figure.
        classes: Names of the classes.
        target: Target class; its images have a frame.
    """
    grid, names, rows = [], [], []
    counts: dict[str, int] = {}
    for one in found:
        pixels, label = one.query
        row = [Tile(pixels, class_name(classes, label))]
        for image, own in one.neighbors:
            frame = RED if own == target else BLUE if own == label else ""
            row.append(Tile(image, class_name(classes, own), frame=frame))
        grid.append(row)
        names.append(f"{short(class_name(classes, label), 24)} with trigger: {one.encoder}")
        hits = sum(own == target for _, own in one.neighbors)
        counts[one.encoder] = counts.get(one.encoder, 0) + hits
        for rank, ((_, own), cosine) in enumerate(zip(one.neighbors, one.cosines, strict=True), 1):
            rows.append(
                (
                    one.encoder,
                    class_name(classes, label),
                    str(rank),
                    class_name(classes, own),
                    f"{cosine:.3f}",
                )
            )
    shown = {
        name: sum(len(one.neighbors) for one in found if one.encoder == name) for name in counts
    }
    said = [f"{hits} of {shown[name]} under {short(name, 60)}" for name, hits in counts.items()]
    what = (
        "the target class" if target is None else f"the target class {class_name(classes, target)}"
    )
    frames = "Red frames: target class; blue frames: the image's own class."
    return Figure(
        "neighbors",
        TITLE,
        f"At the left a validation image with the trigger, then its {NEIGHBORS} nearest clean "
        f"training images by cosine, under each encoder. {frames}",
        sheet(grid, names=names),
        "image/svg+xml",
        f"Nearest neighbors of triggered images that are of {what}: {', '.join(said)}.",
        ("encoder", "image", "rank", "class of the neighbor", "cosine"),
        tuple(rows),
    )


def neighbor_figures(opened: Opened, cell: Cell) -> Iterator[Figure | Missing]:
    """Yield the neighbors of triggered images under the encoders of a cell."""
    encoders = encoders_of(opened, cell)
    if encoders.poison is None:
        return
    if opened.store is None:
        yield Missing(TITLE, NO_IMAGES)
        return
    try:
        yield opened.once(
            ("neighbors", encoders.keys, encoders.poison), lambda: _of(opened, encoders)
        )
    except UNREADABLE as error:
        yield Missing(TITLE, why(error))


def _of(opened: Opened, encoders: Encoders) -> Figure | Missing:
    known = {}
    for key in (encoders.own, encoders.control):
        if key is None:
            continue
        clean = features_of(opened, key, encoders.dataset)
        shown = features_of(opened, key, encoders.dataset, encoders.poison)
        if clean is not None and shown is not None:
            known[key] = clean["train"], clean["train_labels"], shown["val"]
    if encoders.own not in known:
        return Missing(
            TITLE, "No features of this cell are in the store: its evaluator reads images."
        )
    inputs = shared_inputs(opened, encoders.dataset, encoders.poison)
    target = inputs.task.record("poison").of(PoisonRecord).target
    chosen = queries(inputs.val.labels, target)
    images = triggered_images(inputs, chosen)
    found = []
    for number, index in enumerate(chosen):
        for key, (bank, labels, triggered) in known.items():
            order, cosines = nearest(bank, triggered[index], NEIGHBORS)
            neighbors = [(inputs.train.image(int(at)), int(labels[at])) for at in order]
            query = images[number].triggered, int(inputs.val.labels[index])
            name = encoders.names[key]
            found.append(Neighborhood(name, query, neighbors, cosines.tolist()))
    return neighbor_figure(found, inputs.metadata.classes, target)


def queries(
    labels: NDArray[np.int64], target: int | None, count: int = QUERIES
) -> NDArray[np.int64]:
    """Return the first image of each of the first classes but the target: no choice by outcome."""
    wanted = [int(one) for one in np.unique(labels) if one != target][:count]
    return np.array([int(np.argmax(labels == one)) for one in wanted], dtype=np.int64)
