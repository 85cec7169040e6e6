"""Saliency on triggered images: what an encoder's likeness to the target class rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from backbench.images import Pixels
from backbench.model import Cell
from backbench.nn.knn import unit
from backbench.plugin import Box
from backbench.report.figures.canvas import number, short
from backbench.report.figures.encoders import Encoders, encoders_of, features_of
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.images import (
    NO_IMAGES,
    UNREADABLE,
    ListedImages,
    class_name,
    shared_inputs,
    triggered_images,
    why,
)
from backbench.report.figures.neighbors import queries
from backbench.report.figures.occlusion import Saliency, occlusion, target_score
from backbench.report.figures.opened import Opened
from backbench.report.figures.sheet import Tile, sheet
from backbench.store.metadata import PoisonRecord

TITLE = "Saliency on triggered images"

#: Number of images.
IMAGES: Final = 3

#: Color of what matters most.
_HEAT: Final = np.array([213, 94, 0], dtype=np.float64)


def saliency_figure(
    images: Sequence[tuple[Pixels, str, Sequence[Box]]],
    found: Sequence[Sequence[Saliency]],
    target: str,
) -> Figure:
    """Draw the saliency of images under each encoder.

    Args:
        images: Triggered images, their classes, and the boxes of their triggers.
        found: Of each image the saliency under each encoder.
        target: Name of the target class.
    """
    names = [one.encoder for one in found[0]]
    most = [max(float(row[at].drops.max()) for row in found) for at in range(len(names))]
    grid = [
        [
            Tile(pixels, name, boxes),
            *(_heated(pixels, one, top) for one, top in zip(row, most, strict=True)),
        ]
        for (pixels, name, boxes), row in zip(images, found, strict=True)
    ]
    rows = [
        (
            name,
            one.encoder,
            number(one.score),
            number(float(one.drops.max())),
            number(one.inside(boxes)),
        )
        for (_, name, boxes), row in zip(images, found, strict=True)
        for one in row
    ]
    shares = np.array(
        [
            [one.inside(boxes) for one in row]
            for (_, _, boxes), row in zip(images, found, strict=True)
        ]
    )
    inside = [
        f"{share:.2f} under {short(name, 60)}"
        for share, name in zip(shares.mean(axis=0), names, strict=True)
    ]
    pixels, _, boxes = images[0]
    area = sum(box.width * box.height for box in boxes) / (pixels.shape[0] * pixels.shape[1])
    return Figure(
        "saliency",
        TITLE,
        "Where a gray square, a quarter of the image wide, takes most from the score of the target "
        f"class {short(target, 40)}: the cosine to its mean feature less the greatest one to "
        "another class's. Orange is the greatest drop under that encoder; rectangles are the "
        "trigger's.",
        sheet(grid, ["triggered", *names]),
        "image/svg+xml",
        f"Share of the saliency that lies in the trigger, which has {area:.2f} of the area: "
        f"{', '.join(inside)}.",
        ("image", "encoder", "score", "greatest drop", "share inside the trigger"),
        tuple(rows),
    )


def _heated(pixels: Pixels, one: Saliency, most: float) -> Tile:
    """Return an image in gray on which what matters is orange."""
    gray = np.repeat(pixels.mean(axis=2, keepdims=True) * 0.6 + 80, 3, axis=2)
    heat = np.clip(one.drops / most if most > 0 else one.drops * 0, 0, 1)[..., None]
    mixed = gray * (1 - heat) + _HEAT * heat
    return Tile(mixed.clip(0, 255).round().astype(np.uint8), f"score {one.score:.2f}")


def saliency_figures(opened: Opened, cell: Cell) -> Iterator[Figure | Missing]:
    """Yield the saliency of triggered images under the encoders of a targeted cell."""
    encoders = encoders_of(opened, cell)
    record = None if encoders.poison is None else opened.record_of(encoders.poison)
    target = None if record is None else record.of(PoisonRecord).target
    if target is None:
        return
    if opened.store is None:
        yield Missing(TITLE, NO_IMAGES)
        return
    try:
        yield opened.once(
            ("saliency", encoders.keys, encoders.poison), lambda: _of(opened, encoders, target)
        )
    except UNREADABLE as error:
        yield Missing(TITLE, why(error))


def _of(opened: Opened, encoders: Encoders, target: int) -> Figure | Missing:
    scores = {}
    for key in (encoders.own, encoders.control):
        score = None if key is None else _scorer(opened, encoders, key, target)
        if key is not None and score is not None:
            scores[encoders.names[key]] = score
    if not scores:
        return Missing(
            TITLE, "No features of this cell are in the store: its evaluator reads images."
        )
    inputs = shared_inputs(opened, encoders.dataset, encoders.poison)
    chosen = queries(inputs.val.labels, target, IMAGES)
    classes = inputs.metadata.classes
    images, found = [], []
    for shown, index in zip(triggered_images(inputs, chosen), chosen, strict=True):
        name = class_name(classes, int(inputs.val.labels[index]))
        images.append((shown.triggered, name, shown.mark.boxes))
        found.append([occlusion(one, shown.triggered, score) for one, score in scores.items()])
    return saliency_figure(images, found, classes[target])


def _scorer(
    opened: Opened, encoders: Encoders, key: str, target: int
) -> Callable[[Sequence[Pixels]], NDArray[np.float64]] | None:
    """Return what scores images by an encoder and the classes' mean features, of clean images."""
    from backbench.nn import load_encoder
    from backbench.training.extraction import extract

    clean = features_of(opened, key, encoders.dataset)
    if clean is None or opened.store is None or not (opened.store.artifact(key)).is_dir():
        return None
    features, labels = unit(clean["train"]), clean["train_labels"]
    known = np.unique(labels[labels >= 0])
    if target not in known or len(known) < 2:
        return None
    means = np.stack([features[labels == one].mean(axis=0) for one in known])
    at = int(np.flatnonzero(known == target)[0])
    encoder = load_encoder(opened.store.artifact(key))

    def score(images: Sequence[Pixels]) -> NDArray[np.float64]:
        listed = ListedImages(images, images[0].shape[:2])
        return target_score(extract(encoder, listed, device="cpu"), means, at)

    return score
