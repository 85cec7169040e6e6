"""A linear probe on features, which are computed once: ``linear`` and ``linear-raw``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from backbench.nn.knn import unit
from backbench.plugin import Evaluator, derive, selection_split
from backbench_evaluators.classifiers import (
    SGD,
    Adam,
    Floats,
    Ints,
    LinearClassifier,
    Optimizer,
    cross_entropy,
    fresh_layer,
    labelled_images,
    standardization,
)
from backbench_evaluators.evaluator_options import LinearOptions, RawOptions

#: Share of the labelled images on which a penalty is chosen.
SELECTION = 0.2


class FeatureProbe(Evaluator):
    """A linear classifier on features; how it is fitted is the options' solver.

    ``linear`` scales features to length 1 and standardizes them. Its default solver, L-BFGS, finds
    the minimum of the penalized cross-entropy, which is unique: the result depends neither on a
    learning rate nor on the number of images. The published SGD makes 40 epochs whatever it is
    given, and on a few hundred images these are too few to learn anything.

    ``linear-raw`` takes features as they are, and Adam.

    Source: ``linear``: Saha et al. 2022, section 4; published code moco/eval_linear.py: mean and
        unbiased variance of the L2-normalized training features, 1e-5; SGD .01, momentum .9, weight
        decay 1e-4, batch 256, 40 epochs, a tenth at 15 and 30. ``linear-raw``: published code
        byol/test.py: Adam at 1e-2, falling to 1e-6 by the same factor after each of 500 epochs, L2
        5e-6, batches of 1000 of a fresh permutation, torch's own start.
    Differs: ``linear``: features of whole images, computed once, instead of random crops in every
        epoch; mean and variance are those of the labelled images. L-BFGS runs to the minimum. Of
        several penalties the best on a part of the training images is taken; the published code
        also saves the epoch that was best on the validation images. ``linear-raw``: the remainder
        of each epoch's permutation is left out of that epoch, where the published code leaves the
        same images out of all (its features are those of whole batches only); fewer features than
        a batch are one batch, where it has none.
    """

    options: LinearOptions | RawOptions

    def __init__(self, options: LinearOptions | RawOptions, seed: int) -> None:
        super().__init__(options, seed)
        self._selection: Mapping[str, Any] = {}

    def fit(self, features: Floats, labels: Ints, classes: int) -> None:
        """Learn from clean training features; see :meth:`backbench.plugin.Evaluator.fit`."""
        chosen = labelled_images(self.options, labels, self.sources, self.seed)
        features, labels = features[chosen], labels[chosen]
        penalty = self.options.penalty
        if isinstance(penalty, tuple):
            penalty, self._selection = self._select(penalty, features, labels, classes)
        self._classifier = self._fitted(penalty, features, labels, classes)

    def _select(
        self, penalties: tuple[float, ...], features: Floats, labels: Ints, classes: int
    ) -> tuple[float, Mapping[str, Any]]:
        """Return the best penalty, the greatest of equals, and its entries for the record."""
        own, apart = selection_split(labels, SELECTION, derive(self.seed, "penalty"))
        found = {}
        for penalty in sorted(penalties, reverse=True):
            classifier = self._fitted(penalty, features[own], labels[own], classes)
            right = classifier(features[apart]).argmax(axis=1) == labels[apart]
            found[penalty] = float(right.mean())
        best = max(found, key=found.__getitem__)
        accuracies = {str(penalty): accuracy for penalty, accuracy in found.items()}
        return best, {"penalty": best, "images": len(apart), "accuracy": accuracies}

    def _fitted(
        self, penalty: float, features: Floats, labels: Ints, classes: int
    ) -> LinearClassifier:
        normal = standardization(unit(features)) if self.options.normalized else (None, None)
        start = np.zeros((features.shape[1] + 1, classes), dtype=np.float32)
        inputs = LinearClassifier(start, *normal).inputs(features)
        if isinstance(self.options, LinearOptions) and self.options.solver == "lbfgs":
            weights = minimum(start, inputs, labels, penalty, self.options.max_iterations)
        else:
            weights = self._trained(penalty, inputs, labels, classes)
        return LinearClassifier(weights, *normal)

    def _trained(self, penalty: float, inputs: Floats, labels: Ints, classes: int) -> Floats:
        """Return the weights, (D + 1, C), after the epochs of SGD or Adam."""
        options, count = self.options, len(labels)
        rng = np.random.default_rng(derive(self.seed, options.solver))
        weights = fresh_layer(rng, inputs.shape[1], classes)
        optimizer: Optimizer
        if isinstance(options, RawOptions):
            optimizer = Adam(weights, penalty)
        else:
            optimizer = SGD(weights, options.momentum, penalty)
        size = min(options.batch_size, count)
        for epoch in range(options.epochs):
            order, lr = rng.permutation(count), options.learning_rate(epoch)
            optimizer.epoch(inputs, labels, order, size, lr, drop_last=isinstance(optimizer, Adam))
        return weights

    def selection(self) -> Mapping[str, Any]:
        """Return ``penalty``, ``images`` it was chosen on, and the ``accuracy`` of each."""
        return self._selection

    def predict(self, features: Floats) -> Floats:
        """Return logits, (M, classes), of features (M, D)."""
        return self._classifier(features)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the classifier as named arrays; see :meth:`LinearClassifier.state`."""
        return self._classifier.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave; see :meth:`backbench.plugin.Evaluator.restore`."""
        self._classifier = LinearClassifier.of(state, normalized=self.options.normalized)


def minimum(start: Floats, inputs: Floats, labels: Ints, penalty: float, iterations: int) -> Floats:
    """Return the minimum of the penalized cross-entropy by L-BFGS from weights, (D + 1, C).

    Inputs are (N, D); the last row of the weights, the biases, carries no penalty.
    """

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(start.shape)
        loss, gradient = cross_entropy(weights.astype(np.float32), inputs, labels)
        slope = gradient.astype(np.float64)
        slope[:-1] += penalty * weights[:-1]
        return loss + penalty / 2 * float(np.square(weights[:-1]).sum()), slope.ravel()

    found = minimize(
        objective,
        start.ravel().astype(np.float64),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations, "gtol": 1e-6, "ftol": 1e-9},
    )
    return np.asarray(found.x.reshape(start.shape), dtype=np.float32)
