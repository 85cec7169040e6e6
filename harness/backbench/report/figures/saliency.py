"""Saliency on triggered images: what the score of the target class rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np

from backbench.images import Pixels
from backbench.model import Cell
from backbench.nn.knn import unit
from backbench.plugin import Box, Evaluator
from backbench.report.figures.canvas import number, short
from backbench.report.figures.encoders import Encoders, Floats, encoders_of, features_of
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.images import (
    NO_IMAGES,
    UNREADABLE,
    ListedImages,
    class_name,
    shared_inputs,
    task_of,
    triggered_images,
    why,
)
from backbench.report.figures.neighbors import queries
from backbench.report.figures.occlusion import Saliency, cosines, hidden, lead, occlusion
from backbench.report.figures.opened import Opened
from backbench.report.figures.tiles import Tile, sheet
from backbench.stages.evaluators import CLASSIFIER, evaluation_of, restored
from backbench.store.metadata import PoisonRecord

TITLE = "Saliency on triggered images"

#: Number of images.
IMAGES: Final = 3

#: Color of what matters most.
_HEAT: Final = np.array([213, 94, 0], dtype=np.float64)

#: Gives each class a score, (N, C), by features, (N, D).
_Scorer = Callable[[Floats], Floats]

#: The score where no classifier is stored.
NEARNESS: Final = "the cosine to a class's mean feature, as the evaluator stores no classifier"


def saliency_figure(
    images: Sequence[tuple[Pixels, str, Sequence[Box]]],
    found: Sequence[Sequence[Saliency]],
    target: str,
    score: str = NEARNESS,
) -> Figure:
    """Draw the saliency of images under each encoder.

    Args:
        images: Triggered images, their classes, and the boxes of their triggers.
        found: Of each image the saliency under each encoder.
        target: Name of the target class.
        score: What gives a class its score.
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
        "Where a gray square, a quarter of the image wide, takes most from the lead of the target "
        f"class {short(target, 40)}: its score less the greatest one of another class. The score "
        f"is {score}. Orange is the greatest drop under that encoder; rectangles are the "
        "trigger's.",
        sheet(grid, ["triggered", *names]),
        "image/svg+xml",
        f"Share of the saliency that lies in the trigger, which has {area:.2f} of the area: "
        f"{', '.join(inside)}.",
        ("image", "encoder", "lead", "greatest drop", "share inside the trigger"),
        tuple(rows),
    )


def _heated(pixels: Pixels, one: Saliency, most: float) -> Tile:
    """Return an image in gray on which what matters is orange."""
    gray = np.repeat(pixels.mean(axis=2, keepdims=True) * 0.6 + 80, 3, axis=2)
    heat = np.clip(one.drops / most if most > 0 else one.drops * 0, 0, 1)[..., None]
    mixed = gray * (1 - heat) + _HEAT * heat
    return Tile(mixed.clip(0, 255).round().astype(np.uint8), f"lead {one.score:.2f}")


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
    fits = _stored_fits(opened, cell)
    try:
        yield opened.once(
            ("saliency", encoders.keys, encoders.poison, fits),
            lambda: _of(opened, cell, encoders, target, is_stored=bool(fits)),
        )
    except UNREADABLE as error:
        yield Missing(TITLE, why(error))


def _stored_fits(opened: Opened, cell: Cell) -> tuple[str, ...]:
    """Return the keys of the classifiers of a cell and of its control, if all are stored."""
    stages = opened.plan.stages
    evaluations = [stages[key] for key in (cell.evaluation, cell.control) if key is not None]
    fits = tuple(one.inputs["fit"] for one in evaluations)
    reads_features = all("clean" in one.inputs for one in evaluations)
    if reads_features and opened.store is not None:
        files = [opened.store.artifact(key) / CLASSIFIER for key in fits]
        return fits if all(one.is_file() for one in files) else ()
    return ()


def _of(
    opened: Opened, cell: Cell, encoders: Encoders, target: int, *, is_stored: bool
) -> Figure | Missing:
    """Draw the saliency by the stored classifiers, or by the classes' mean features."""
    evaluations = {encoders.own: cell.evaluation}
    if encoders.control is not None and cell.control is not None:
        evaluations[encoders.control] = cell.control
    score, scorers = NEARNESS, {}
    if is_stored:
        score = f"that of the evaluator {short(cell.name.evaluator, 40)}"
    for key, evaluation in evaluations.items():
        found_in = _classifier(opened, evaluation) if is_stored else _means(opened, encoders, key)
        if found_in is not None:
            scorers[key] = found_in
    if not scorers:
        return Missing(
            TITLE, "No features of this cell are in the store: its evaluator reads images."
        )
    inputs = shared_inputs(opened, encoders.dataset, encoders.poison)
    chosen = queries(inputs.val.labels, target, IMAGES)
    classes = inputs.metadata.classes
    shown = triggered_images(inputs, chosen)
    boxes = hidden(shown[0].triggered)[1]
    leads = {}
    for key, scorer in scorers.items():
        pixels = [one.triggered for one in shown]
        features = opened.once(
            ("occluded", key, encoders.poison), partial(_occluded, opened, key, pixels)
        )
        leads[key] = lead(scorer(features), target).reshape(len(shown), -1)
    images, found = [], []
    for at, (one, index) in enumerate(zip(shown, chosen, strict=True)):
        name = class_name(classes, int(inputs.val.labels[index]))
        images.append((one.triggered, name, one.mark.boxes))
        found.append(
            [
                occlusion(encoders.names[key], one.triggered, boxes, values[at])
                for key, values in leads.items()
            ]
        )
    return saliency_figure(images, found, classes[target], score)


def _occluded(opened: Opened, key: str, images: Sequence[Pixels]) -> Floats:
    """Compute the features of images and of their copies with a hidden part."""
    from backbench.nn import load_encoder
    from backbench.training.extraction import extract

    if opened.store is None:
        raise ValueError(NO_IMAGES)
    copies = [copy for one in images for copy in (one, *hidden(one)[0])]
    listed = ListedImages(copies, images[0].shape[:2])
    return extract(load_encoder(opened.store.artifact(key)), listed, device="cpu")


def _classifier(opened: Opened, evaluation: str) -> _Scorer | None:
    """Return the stored classifier of an evaluation, of its first variant."""
    task = task_of(opened, opened.plan.stages[evaluation])
    made = evaluation_of(task)
    if not isinstance(made.evaluator, Evaluator) or not restored(task, made):
        return None
    predict = made.evaluator.predict

    def scores(features: Floats) -> Floats:
        found = predict(features)
        return next(iter(found.values())) if isinstance(found, Mapping) else found

    return scores


def _means(opened: Opened, encoders: Encoders, key: str) -> _Scorer | None:
    """Return the cosine to the mean features of the classes, if all classes have clean images."""
    clean = features_of(opened, key, encoders.dataset)
    if clean is None or opened.store is None or not opened.store.artifact(key).is_dir():
        return None
    features, labels = unit(clean["train"]), clean["train_labels"]
    known = np.unique(labels[labels >= 0])
    if len(known) < 2 or len(known) <= known.max():
        return None
    means = np.stack([features[labels == one].mean(axis=0) for one in known])
    return partial(cosines, means=means)
