"""Linear evaluation on features as they are: one linear layer, Adam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbench.plugin import Evaluator
from backbench.seeds import derive
from backbench_evaluators.evaluator_options import RawOptions
from backbench_evaluators.feature_sets import (
    Floats,
    fresh_layer,
    labelled_subset,
    logits,
    packed,
    require,
    unpacked,
)
from backbench_evaluators.sgd import cross_entropy

#: Adam's averages of the gradient and of its square, and what keeps it from dividing by zero.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class LinearRaw(Evaluator):
    """A linear classifier on features that are computed once and not normalized.

    Args:
        options: See :class:`RawOptions`.
        seed: Seed of the choice of labelled images, of the start and of the order.

    Source: published code byol/test.py: Adam at 1e-2, falling to 1e-6 by the same factor after
        each of 500 epochs, L2 5e-6, batches of 1000 of a fresh permutation, torch's own start.
    Differs: the remainder of each epoch's permutation is left out of that epoch, where the
        published code leaves the same images out of all (its features are those of whole batches
        only); fewer features than a batch are one batch, where it has none.
    """

    options: RawOptions

    def fit(self, features: Floats, labels: NDArray[np.int64], classes: int) -> None:
        """Learn from clean training features; see :meth:`backbench.plugin.Evaluator.fit`."""
        options = self.options
        chosen = labelled_subset(labels, options.label_fraction, derive(self.seed, "labelled"))
        inputs, wanted = features[chosen], labels[chosen]
        rng = np.random.default_rng(derive(self.seed, "adam"))
        self._weights = fresh_layer(rng, inputs.shape[1], classes)
        adam = Adam(self._weights, options.weight_decay)
        size = min(options.batch_size, len(inputs))
        for epoch in range(options.epochs):
            order = rng.permutation(len(inputs))
            for start in range(0, len(order) - size + 1, size):
                rows = order[start : start + size]
                _, gradient = cross_entropy(self._weights, inputs[rows], wanted[rows])
                adam.step(gradient, options.learning_rate(epoch))

    def predict(self, features: Floats) -> Floats:
        """Return logits, (M, classes), of features (M, D)."""
        return logits(self._weights, features)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return ``weight`` (classes, D) and ``bias`` (classes,)."""
        return packed(self._weights)

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave; see :meth:`backbench.plugin.Evaluator.restore`."""
        require(state, {"weight", "bias"})
        self._weights = unpacked(state)


class Adam:
    """Adam with a coupled L2 penalty.

    Args:
        weights: What is trained; changed in place.
        weight_decay: The penalty.

    Source: Kingma and Ba 2015, algorithm 1; the penalty is added to the gradient, as
        torch.optim.Adam does.
    Differs: nothing.
    """

    def __init__(self, weights: Floats, weight_decay: float) -> None:
        self._weights = weights
        self._decay = np.float32(weight_decay)
        self._mean = np.zeros_like(weights)
        self._square = np.zeros_like(weights)
        self._steps = 0

    def step(self, gradient: Floats, lr: float) -> None:
        """Make one step.

        Args:
            gradient: Of the loss alone, of the weights' shape.
            lr: Learning rate.
        """
        self._steps += 1
        gradient = gradient + self._decay * self._weights
        self._mean += np.float32(1 - BETA_1) * (gradient - self._mean)
        self._square *= np.float32(BETA_2)
        self._square += np.float32(1 - BETA_2) * np.square(gradient)
        size = lr / (1 - BETA_1**self._steps)
        scale = np.sqrt(self._square) / np.float32(np.sqrt(1 - BETA_2**self._steps))
        self._weights -= np.float32(size) * self._mean / (scale + np.float32(EPSILON))
