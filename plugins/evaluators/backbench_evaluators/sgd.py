"""Stochastic gradient descent on a linear classifier, where its inputs are at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbench_evaluators.feature_sets import Floats, logits


class SGD:
    """SGD with momentum and a coupled L2 penalty.

    Args:
        weights: What is trained, (D + 1, C), the last row the bias; changed in place.
        momentum: In [0, 1).
        weight_decay: The penalty; biases carry it too.
        nesterov: Whether the momentum is Nesterov's.

    Source: torch.optim.SGD, without damping.
    Differs: nothing.
    """

    def __init__(
        self, weights: Floats, momentum: float, weight_decay: float, *, nesterov: bool = False
    ) -> None:
        self._weights = weights
        self._velocity = np.zeros_like(weights)
        self._momentum = np.float32(momentum)
        self._decay = np.float32(weight_decay)
        self._nesterov = nesterov

    def step(self, gradient: Floats, lr: float) -> None:
        """Make one step.

        Args:
            gradient: Of the loss alone, of the weights' shape.
            lr: Learning rate.
        """
        slope = gradient + self._decay * self._weights
        self._velocity *= self._momentum
        self._velocity += slope
        way = slope + self._momentum * self._velocity if self._nesterov else self._velocity
        self._weights -= np.float32(lr) * way

    def epoch(
        self,
        inputs: Floats,
        labels: NDArray[np.int64],
        order: NDArray[np.int64],
        size: int,
        lr: float,
    ) -> float:
        """Make one pass.

        Args:
            inputs: (N, D).
            labels: (N,).
            order: Rows of the inputs; the last batch is smaller if they do not fill it.
            size: Rows in a batch.
            lr: Learning rate.

        Returns:
            The mean loss, each batch before its step.
        """
        total = 0.0
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            loss, gradient = cross_entropy(self._weights, inputs[rows], labels[rows])
            self.step(gradient, lr)
            total += loss * len(rows)
        return total / max(len(order), 1)


def cross_entropy(
    weights: Floats, inputs: Floats, labels: NDArray[np.int64]
) -> tuple[float, Floats]:
    """Return the mean cross-entropy of a linear classifier, and its gradient.

    Args:
        weights: (D + 1, C), the last row the bias.
        inputs: (N, D).
        labels: (N,).
    """
    scores = logits(weights, inputs)
    scores -= scores.max(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    own = scores[rows, labels].astype(np.float64)
    np.exp(scores, out=scores)
    sums = scores.sum(axis=1, keepdims=True, dtype=np.float64)
    loss = float((np.log(sums[:, 0]) - own).mean())
    scores /= (sums * len(labels)).astype(np.float32)
    scores[rows, labels] -= np.float32(1 / len(labels))
    gradient = np.concatenate([inputs.T @ scores, scores.sum(axis=0, keepdims=True)])
    return loss, gradient
