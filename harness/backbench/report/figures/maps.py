"""Maps of features in two dimensions: clean classes, target, poisons, triggered images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from backbench.errors import counted
from backbench.model import Cell
from backbench.report.figures.canvas import (
    number,
    short,
)
from backbench.report.figures.clouds import Cloud, embedded, nearness, projected
from backbench.report.figures.encoders import (
    Encoders,
    Floats,
    encoders_of,
    features_of,
    few,
    training_of,
)
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.images import UNREADABLE, ListedImages, shared_inputs
from backbench.report.figures.opened import Opened
from backbench.report.figures.scatter import scatter
from backbench.stages.inputs import poisoned_images
from backbench.store.metadata import DatasetRecord, PoisonRecord

TITLE, TSNE_TITLE = "PCA map of features", "t-SNE map of features"

#: Most images of each sort on a map.
MOST_CLEAN: Final = 200
MOST_TRIGGERED: Final = 80
MOST_POISONS: Final = 40

NO_TSNE: Final = 'It needs scikit-learn: pip install "backbench[tsne]".'


def map_figure(
    clouds: Sequence[Cloud],
    labels: NDArray[np.int64],
    triggered_labels: NDArray[np.int64],
    classes: Sequence[str],
    target: int | None = None,
) -> Figure:
    """Draw a map of the features of each encoder, on the same axes.

    Args:
        clouds: Features of each encoder, of the same images.
        labels: Classes of the clean images, (N,).
        triggered_labels: Classes of the triggered images, (M,).
        classes: Names of the classes.
        target: Target class of the attack.
    """
    points, kept = projected(clouds)
    near = [nearness(one, labels, triggered_labels, target) for one in clouds]
    rows = [
        (one.name, number(share), *(number(value) for value in values))
        for one, share, values in zip(clouds, kept, near, strict=True)
    ]
    said = [
        f"{short(one.name, 60)}: triggered images have a mean cosine of {toward:.2f} to the target "
        f"class's mean and of {own:.2f} to their own class's."
        for one, (own, toward) in zip(clouds, near, strict=True)
        if own is not None and toward is not None
    ]
    return Figure(
        "feature-map",
        TITLE,
        "Features, scaled to length 1, on the first two principal components of each encoder's "
        "clean images, on the same axes, turned to fit the first: "
        f"{_counts(clouds[0])}. A class name is near the mean of its images.",
        scatter(points, labels, classes, target),
        "image/svg+xml",
        " ".join([f"Maps of features under {counted(len(clouds), 'encoder')}.", *said]),
        ("encoder", "variance kept", "triggered: cosine to own class", "to target class"),
        tuple(rows),
    )


def tsne_figure(
    clouds: Sequence[Cloud],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    target: int | None = None,
) -> Figure:
    """Draw a t-SNE map of the features of each encoder; see :func:`map_figure`.

    Raises:
        ImportError: Without scikit-learn.
    """
    return Figure(
        "feature-map-tsne",
        TSNE_TITLE,
        "The images of the PCA map by t-SNE, which keeps near features near; distances between "
        f"groups mean little. Each begins as that map and is turned to fit the first: "
        f"{_counts(clouds[0])}.",
        scatter(embedded(clouds), labels, classes, target),
        "image/svg+xml",
        f"Maps of features by t-SNE under {counted(len(clouds), 'encoder')}, of the images of the "
        "PCA map.",
    )


def _counts(cloud: Cloud) -> str:
    """Return how many images of each sort a map has."""
    sorts = [counted(len(cloud.clean), "clean validation image")]
    if cloud.triggered is not None:
        images = counted(len(cloud.triggered), "triggered validation image")
        sorts.append(f"{images} of other classes")
    if cloud.poisons is not None:
        sorts.append(counted(len(cloud.poisons), "poisoned training image"))
    return ", ".join(sorts)


def map_figures(opened: Opened, cell: Cell) -> Iterator[Figure | Missing]:
    """Yield the maps of the features of a cell's encoders."""
    if opened.store is None:
        yield Missing(TITLE, "A bundle has no features.")
        return
    encoders = encoders_of(opened, cell)
    made = opened.once(
        ("map", *encoders.names.items(), encoders.poison), lambda: _of(opened, encoders)
    )
    yield from made


def _of(opened: Opened, encoders: Encoders) -> list[Figure | Missing]:
    clouds: list[Cloud] = []
    chosen = asked = labels = np.empty(0, np.int64)
    poison = encoders.poison
    record = None if poison is None else opened.record_of(poison)
    target = None if record is None else record.of(PoisonRecord).target
    for key in encoders.keys:
        clean = features_of(opened, key, encoders.dataset)
        if clean is None:
            continue
        labels = clean["val_labels"]
        if not clouds:
            chosen = few(labels, MOST_CLEAN)
            others = np.flatnonzero(labels != (-1 if target is None else target))
            asked = others[few(labels[others], MOST_TRIGGERED)]
        shown = None if poison is None else features_of(opened, key, encoders.dataset, poison)
        cloud = Cloud(
            encoders.names[key],
            clean["val"][chosen],
            None if shown is None else shown["val"][asked],
            _poison_features(opened, key, encoders.own),
        )
        clouds.append(cloud)
    if not len(chosen):
        reason = "No features of this cell are in the store: its evaluator reads images."
        return [Missing(TITLE, reason)]
    dataset = opened.record_of(encoders.dataset)
    classes = () if dataset is None else dataset.of(DatasetRecord).dataset.classes
    found: list[Figure | Missing] = [
        map_figure(clouds, labels[chosen], labels[asked], classes, target)
    ]
    if poison is not None:  # a map of clean images alone says little, and takes as long
        try:
            found.append(tsne_figure(clouds, labels[chosen], classes, target))
        except ImportError:
            found.append(Missing(TSNE_TITLE, NO_TSNE))
    return found


def _poison_features(opened: Opened, encoder: str, own: str) -> Floats | None:
    """Compute the features of some poisons of an encoder's own training set; ``None`` if none."""
    training = training_of(opened, own)
    read = {} if training is None else opened.plan.stages[training].inputs
    poison = read.get("poison")
    if poison is None or opened.store is None:
        return None
    try:
        from backbench.nn import load_encoder
        from backbench.training.extraction import extract

        inputs = shared_inputs(opened, read["dataset"], poison)
        changed = poisoned_images(inputs.task.input("poison"))
        chosen = list(changed)[:: max(1, -(-len(changed) // MOST_POISONS))]
        if not chosen:
            return None
        images = ListedImages([changed[one] for one in chosen], inputs.train.size)
        loaded = load_encoder(opened.store.artifact(encoder))
        return extract(loaded, images, device="cpu")
    except UNREADABLE:
        return None
