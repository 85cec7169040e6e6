"""Optimizers of linear classifiers whose inputs are in memory, the same on any number of cores."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from backbench_evaluators.feature_sets import Floats, logits

#: Adam's averages of the gradient and of its square, and what keeps it from dividing by zero.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Optimizer(ABC):
    """Trains the weights (D + 1, C) of a linear classifier in place; the last row is the bias."""

    def __init__(self, weights: Floats, weight_decay: float) -> None:
        self._weights = weights
        self._decay = np.float32(weight_decay)

    @abstractmethod
    def step(self, gradient: Floats, lr: float) -> None:
        """Make one step with the gradient of the loss alone."""

    def epoch(
        self,
        inputs: Floats,
        labels: NDArray[np.int64],
        order: NDArray[np.int64],
        size: int,
        lr: float,
        *,
        drop_last: bool = False,
    ) -> float:
        """Make one pass in batches of ``size`` rows; return the mean loss, each before its step."""
        total, seen = 0.0, 0
        for start in range(0, len(order) - (size - 1 if drop_last else 0), size):
            rows = order[start : start + size]
            loss, gradient = cross_entropy(self._weights, inputs[rows], labels[rows])
            self.step(gradient, lr)
            total += loss * len(rows)
            seen += len(rows)
        return total / max(seen, 1)


class SGD(Optimizer):
    """SGD with momentum and a coupled L2 penalty, as torch.optim.SGD without damping."""

    def __init__(
        self, weights: Floats, momentum: float, weight_decay: float, *, nesterov: bool = False
    ) -> None:
        super().__init__(weights, weight_decay)
        self._velocity = np.zeros_like(weights)
        self._momentum = np.float32(momentum)
        self._nesterov = nesterov

    def step(self, gradient: Floats, lr: float) -> None:
        """Make one step; see :meth:`Optimizer.step`."""
        slope = gradient + self._decay * self._weights
        self._velocity *= self._momentum
        self._velocity += slope
        way = slope + self._momentum * self._velocity if self._nesterov else self._velocity
        self._weights -= np.float32(lr) * way


class Adam(Optimizer):
    """Adam with a coupled L2 penalty.

    Source: Kingma and Ba 2015, algorithm 1; the penalty is added to the gradient, as
        torch.optim.Adam does.
    """

    def __init__(self, weights: Floats, weight_decay: float) -> None:
        super().__init__(weights, weight_decay)
        self._mean = np.zeros_like(weights)
        self._square = np.zeros_like(weights)
        self._steps = 0

    def step(self, gradient: Floats, lr: float) -> None:
        """Make one step; see :meth:`Optimizer.step`."""
        self._steps += 1
        gradient = gradient + self._decay * self._weights
        self._mean += np.float32(1 - BETA_1) * (gradient - self._mean)
        self._square *= np.float32(BETA_2)
        self._square += np.float32(1 - BETA_2) * np.square(gradient)
        size = lr / (1 - BETA_1**self._steps)
        scale = np.sqrt(self._square) / np.float32(np.sqrt(1 - BETA_2**self._steps))
        self._weights -= np.float32(size) * self._mean / (scale + np.float32(EPSILON))


def cross_entropy(
    weights: Floats, inputs: Floats, labels: NDArray[np.int64]
) -> tuple[float, Floats]:
    """Return the mean cross-entropy of a linear classifier on (N, D), (N,), and its gradient."""
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
