"""Measurements while an encoder trains, on training images only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbench.data.preprocess import evaluation_image
from backbench.images import ImageSet, Labels, Pixels, Subset
from backbench.nn.encoder import Encoder
from backbench.nn.knn import knn_predict, unit
from backbench.seeds import derive
from backbench.training.extraction import extract

#: Most images of the bank in which neighbors are looked for, and most that look for them.
BANK, QUERIES = 2000, 500

#: Most images of which the spread of features is taken.
SPREAD = 128

#: Neighbors that vote.
NEIGHBORS = 5


@dataclass(frozen=True, slots=True)
class Trigger:
    """The trigger on images that are evaluated; the method in training never sees it.

    ``stamp`` takes an image, (H, W, 3), uint8, and its index in the training set.
    """

    stamp: Callable[[Pixels, int], Pixels]
    target: int | None


class Monitor:
    """Watches an encoder: are its features alive, do neighbors share a class, does a trigger work?

    The images that look for neighbors are held out of the bank; both are training images,
    and the validation split is never seen.

    Args:
        images: The training set. Labels of -1 are unknown, as of added poisons: neighbors are
            looked for among the others, and nowhere if there are none.
        seed: Seed of the choice of images.
        device: Name of the torch device.
        epochs: Epochs after which neighbors are looked for; see :func:`knn_epochs`.
        trigger: Of the attack that poisoned the training set; ``None`` if it is clean.
    """

    def __init__(
        self,
        images: ImageSet,
        seed: int,
        device: str,
        epochs: Collection[int],
        trigger: Trigger | None = None,
    ) -> None:
        self._device, self._trigger = device, trigger
        labels = images.labels
        order, self._asked = _order(labels, seed), held_out_indices(labels, seed)
        queries = len(self._asked)
        self._queries = Subset(images, self._asked)
        self.bank = Subset(images, order[queries : queries + BANK])
        self._few = Subset(images, order[:SPREAD])
        known = np.unique(images.labels[order[: queries + BANK]])
        labelled = len(known) > 1 and known[0] >= 0 and queries > 0
        self._epochs = epochs if labelled else ()

    def __call__(self, encoder: Encoder, epoch: int) -> Mapping[str, float]:
        """Return the values of an epoch.

        Always ``feature_spread`` and ``effective_rank``, of the same images; now and then
        ``knn_accuracy`` and, of a poisoned encoder, ``knn_accuracy_triggered`` and ``knn_asr``:
        the share of the other classes' triggered images that neighbors vote into the target.
        """
        few = self._features(encoder, self._few)
        values = {"feature_spread": feature_spread(few), "effective_rank": effective_rank(few)}
        if epoch not in self._epochs or not np.isfinite(few).all():
            return values
        bank, labels = self._features(encoder, self.bank), self._queries.labels
        clean = self._vote(bank, self._features(encoder, self._queries))
        values["knn_accuracy"] = float((clean == labels).mean())
        if self._trigger is not None:
            shown = _Stamped(self._queries, self._asked, self._trigger, encoder.spec.image_size)
            triggered = self._vote(bank, self._features(encoder, shown))
            values["knn_accuracy_triggered"] = float((triggered == labels).mean())
            others = labels != self._trigger.target
            if self._trigger.target is not None and others.any():
                hits = triggered[others] == self._trigger.target
                values["knn_asr"] = float(hits.mean())
        return values

    def _vote(self, bank: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.int64]:
        return knn_predict(bank, self.bank.labels, queries, NEIGHBORS)

    def _features(self, encoder: Encoder, images: ImageSet) -> NDArray[np.float32]:
        return extract(encoder, images, device=self._device)


class _Stamped(ImageSet):
    """Training images as they are evaluated, with the trigger."""

    def __init__(
        self, images: ImageSet, positions: NDArray[np.int64], trigger: Trigger, side: int
    ) -> None:
        super().__init__(images.labels, images.sources, images.size or (side, side))
        self._images, self._positions, self._trigger, self._side = images, positions, trigger, side

    def image(self, index: int) -> Pixels:
        image = self._images.image(index)
        if self._images.size is None:  # as photographs to be evaluated: resized, then stamped
            image = evaluation_image(image, self._side)
        return self._trigger.stamp(image, int(self._positions[index]))


def held_out_indices(labels: Labels, seed: int) -> NDArray[np.int64]:
    """Return which training images look for neighbors: a fifth of the labelled, at most 500."""
    order = _order(labels, seed)
    return order[: min(QUERIES, len(order) // 5)]


def _order(labels: Labels, seed: int) -> NDArray[np.int64]:
    """Return the labelled images in an order, or all of them if none has a label."""
    order = np.random.default_rng(derive(seed, "monitor")).permutation(len(labels))
    known = labels[order] >= 0
    return order[known] if known.any() else order


def knn_epochs(epochs: int, checks: int) -> frozenset[int]:
    """Return the epochs after which neighbors are looked for, the last one among them."""
    checks = min(checks, epochs)
    return frozenset(round(epochs * (i + 1) / checks) - 1 for i in range(checks))


def feature_spread(features: NDArray[np.float32]) -> float:
    """Return how much features, (N, D), differ between images.

    It is √D × the mean over D of the standard deviation of the normalized features: about 1 where
    they fill the sphere, 0 where they have collapsed to a point, not a number where some are not
    finite.
    """
    if not np.isfinite(features).all():
        return float("nan")
    return float(unit(features).std(axis=0).mean() * np.sqrt(features.shape[1]))


def effective_rank(features: NDArray[np.float32]) -> float:
    """Return along how many directions features, (N, D), differ between images.

    Returns:
        The exponential of the entropy of the singular values, divided by their sum, of the
        normalized features less their mean: k for k equal directions, at most min(N - 1, D); 1
        where nothing differs, not a number where some feature is not finite.

    Source: Roy and Vetterli 2007, The effective rank: a measure of effective dimensionality.
    Differs: the mean is taken away, as in the spread: after a ReLU it is much of every feature.
    """
    if not np.isfinite(features).all():
        return float("nan")
    rows = unit(features).astype(np.float64)
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    values = values[values > 0]
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
