"""The no-label backdoor: poisons that a clean encoder holds to be alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from backbench.plugin import Part, PoisonContext, Recipe
from backbench_attacks.box_trigger import BoxTriggerAttack
from backbench_attacks.no_label_options import NoLabelOptions

#: Images whose similarities to all others are computed at a time.
_ROWS = 512

#: Starts of k-means, of which the closest clusters are taken, and steps of each at most.
_STARTS = 10
_STEPS = 100


class NoLabel(BoxTriggerAttack):
    """Stamps images that a clean encoder holds to be alike, so that no label is needed.

    Symbols as in the paper: features F of the training images under a clean encoder, M poisons.

    Source: Wang et al. 2024, sections 3 and 4; published code main_poison.py: the M nearest
        neighbors of an anchor, or the smallest cluster of k-means that has M images.
    Differs: the encoder is the clean one of the cell, which is trained on the same images; of a
        cluster, the M images nearest to its center are poisoned. The trigger is a box of colors;
        on CIFAR-10 there, a checkerboard of 3 × 3 pixels. Evaluations count for the class that most
        poisons have.
    """

    options: NoLabelOptions

    @property
    def target(self) -> None:
        """No class: the attack knows none."""
        return

    @property
    def poisons(self) -> int:
        """Number of training images that the rate gives."""
        return self.options.rate.count(self.metadata.train, self.metadata.train)

    def aim(self, classes: NDArray[np.int64]) -> int:
        """Return the class that most poisons have."""
        return int(np.bincount(classes, minlength=len(self.metadata.classes)).argmax())

    def recipes(self, context: PoisonContext, rng: np.random.Generator) -> Iterator[Recipe]:
        """List the images that are selected by their features."""
        count, options = self.poisons, self.options
        if options.selection == "random":
            chosen = rng.permutation(len(context.sets["train"]))[:count]
        elif options.selection == "cluster":
            chosen = clustered(context.features(), count, options.clusters, rng)
        else:
            chosen = neighbors_of_anchor(context.features(), count)
        for index in chosen.tolist():
            yield Recipe((Part("train", index),), index)


def neighbors_of_anchor(features: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the M images nearest to the anchor, (M,), itself among them.

    The anchor is the image whose M nearest images, by the cosine of features, (N, D), are the
    closest in sum, less the sum of the M next ones.
    """
    rows = _unit(features)
    best, anchor = -np.inf, 0
    for start in range(0, len(rows), _ROWS):
        similarity = rows[start : start + _ROWS] @ rows.T
        top = np.partition(similarity, len(rows) - 2 * count, axis=1)[:, -2 * count :]
        top = np.sort(top.astype(np.float64), axis=1)
        scores = top[:, count:].sum(axis=1) - top[:, :count].sum(axis=1)
        if scores.max() > best:
            best, anchor = float(scores.max()), start + int(scores.argmax())
    return np.argsort(-(rows @ rows[anchor]), kind="stable")[:count]


def clustered(
    features: NDArray[np.float32], count: int, clusters: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return M images of the smallest cluster that has as many, the nearest to its center, (M,).

    Raises:
        ValueError: If no cluster is large enough.
    """
    rows = _unit(features)
    centers, nearest = min(
        (k_means(rows, clusters, rng) for _ in range(_STARTS)), key=_spread(rows)
    )
    sizes = np.bincount(nearest, minlength=clusters)
    large = np.flatnonzero(sizes >= count)
    if not len(large):
        raise ValueError(
            f"the largest of {clusters} clusters has {sizes.max()} images, fewer than {count} "
            "poisons: make rate or clusters smaller"
        )
    cluster = int(large[sizes[large].argmin()])
    members = np.flatnonzero(nearest == cluster)
    distance = np.linalg.norm(rows[members] - centers[cluster], axis=1)
    return members[np.argsort(distance, kind="stable")[:count]]


def k_means(
    rows: NDArray[np.float32], clusters: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Group rows, (N, D), around K centers, from a start in which centers lie apart.

    Returns:
        The centers, (K, D), and the nearest center of each row, (N,).

    Source: Lloyd 1982; Arthur and Vassilvitskii 2007, k-means++.
    """
    centers = rows[[int(rng.integers(len(rows)))]]
    for _ in range(1, clusters):
        weights = _distances(rows, centers).min(axis=1).astype(np.float64)
        total = weights.sum()
        shares = weights / total if total > 0 else None
        chosen = int(rng.choice(len(rows), p=shares))
        centers = np.concatenate([centers, rows[[chosen]]])
    nearest = np.full(len(rows), -1, dtype=np.int64)
    for _ in range(_STEPS):
        before, nearest = nearest, _distances(rows, centers).argmin(axis=1)
        if np.array_equal(before, nearest):
            break
        for cluster in np.unique(nearest):
            centers[cluster] = rows[nearest == cluster].mean(axis=0)
    return centers, nearest


def _distances(rows: NDArray[np.float32], centers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squared distances of rows, (N, D), and centers, (K, D): (N, K)."""
    squares = np.square(rows).sum(axis=1)[:, None] + np.square(centers).sum(axis=1)
    found: NDArray[np.float32] = np.maximum(squares - 2 * (rows @ centers.T), 0)
    return found


def _spread(
    rows: NDArray[np.float32],
) -> Callable[[tuple[NDArray[np.float32], NDArray[np.int64]]], float]:
    """Return a function that gives the sum of squared distances of rows to their centers."""

    def spread(found: tuple[NDArray[np.float32], NDArray[np.int64]]) -> float:
        centers, nearest = found
        return float(np.square(rows - centers[nearest]).sum(dtype=np.float64))

    return spread


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit: NDArray[np.float32] = features / np.maximum(lengths, np.float32(1e-12))
    return unit
