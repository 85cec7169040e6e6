"""Linear evaluation: one linear layer on normalized features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from backbench.nn.knn import unit
from backbench.plugin import Evaluator, selection_split
from backbench.seeds import derive
from backbench_evaluators.evaluator_options import LinearOptions
from backbench_evaluators.feature_sets import (
    Floats,
    NormalizedHead,
    fresh_layer,
    labelled_subset,
    standardization,
)
from backbench_evaluators.sgd import SGD, cross_entropy

#: Share of the labelled images on which a penalty is chosen.
SELECTION = 0.2

#: What a milestone multiplies the learning rate of SGD by.
GAMMA = 0.1


class Linear(Evaluator):
    """A linear classifier; features are scaled to length 1, then standardized.

    The default solver finds the minimum of the penalised cross-entropy, which is unique: the
    result depends neither on a learning rate nor on the number of images. The published SGD
    makes 40 epochs whatever it is given, and on a few hundred images these are too few to
    learn anything.

    Args:
        options: See :class:`LinearOptions`.
        seed: Seed of the choice of labelled images, and of SGD.

    Source: Saha et al. 2022, section 4; published code moco/eval_linear.py: mean and unbiased
        variance of the L2-normalized training features, 1e-5; SGD .01, momentum .9, weight decay
        1e-4, batch 256, 40 epochs, a tenth at 15 and 30.
    Differs: features of whole images, computed once, instead of random crops in every epoch;
        mean and variance are those of the labelled images. L-BFGS goes on to the minimum. Of
        several penalties the best on a part of the training images is taken; the published code
        also saves the epoch that was best on the validation images.
    """

    options: LinearOptions

    def __init__(self, options: LinearOptions, seed: int) -> None:
        super().__init__(options, seed)
        self._selection: Mapping[str, Any] = {}

    def fit(self, features: Floats, labels: NDArray[np.int64], classes: int) -> None:
        """Learn from clean training features; see :meth:`backbench.plugin.Evaluator.fit`."""
        chosen = labelled_subset(labels, self.options.label_fraction, derive(self.seed, "labelled"))
        features, labels = features[chosen], labels[chosen]
        penalty = self.options.penalty
        if isinstance(penalty, tuple):
            penalty, self._selection = self._select(penalty, features, labels, classes)
        self._head = self._fitted(penalty, features, labels, classes)

    def _select(
        self,
        penalties: tuple[float, ...],
        features: Floats,
        labels: NDArray[np.int64],
        classes: int,
    ) -> tuple[float, Mapping[str, Any]]:
        """Return the best penalty, the greatest of equals, and what the record says of it."""
        own, apart = selection_split(labels, SELECTION, derive(self.seed, "penalty"))
        found = {}
        for penalty in sorted(penalties, reverse=True):
            head = self._fitted(penalty, features[own], labels[own], classes)
            right = head(features[apart]).argmax(axis=1) == labels[apart]
            found[penalty] = float(right.mean())
        best = max(found, key=found.__getitem__)
        accuracies = {str(penalty): accuracy for penalty, accuracy in found.items()}
        return best, {"penalty": best, "images": len(apart), "accuracy": accuracies}

    def _fitted(
        self, penalty: float, features: Floats, labels: NDArray[np.int64], classes: int
    ) -> NormalizedHead:
        normalized = unit(features)
        mean, scale = standardization(normalized)
        problem = _Problem((normalized - mean) * scale, labels, classes, penalty)
        weights = _SOLVERS[self.options.solver](problem, self.options, self.seed)
        return NormalizedHead(mean, scale, weights)

    def selection(self) -> Mapping[str, Any]:
        """Return ``penalty``, ``images`` it was chosen on, and the ``accuracy`` of each."""
        return self._selection

    def predict(self, features: Floats) -> Floats:
        """Return logits, (M, classes), of features (M, D)."""
        return self._head(features)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return ``mean``, ``scale`` (D,), ``weight`` (classes, D) and ``bias`` (classes,)."""
        return self._head.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave; see :meth:`backbench.plugin.Evaluator.restore`."""
        self._head = NormalizedHead.of(state)


@dataclass(frozen=True, slots=True)
class _Problem:
    """What a classifier is fitted on.

    Args:
        inputs: (N, D).
        labels: (N,).
        classes: Number of classes.
        penalty: L2 penalty of the weights.
    """

    inputs: Floats
    labels: NDArray[np.int64]
    classes: int
    penalty: float


def solve_lbfgs(problem: _Problem, options: LinearOptions, _seed: int) -> Floats:
    """Return the weights, (D + 1, C), at the minimum; biases carry no penalty."""
    shape = (problem.inputs.shape[1] + 1, problem.classes)
    penalty = problem.penalty

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(shape)
        loss, gradient = cross_entropy(weights.astype(np.float32), problem.inputs, problem.labels)
        slope = gradient.astype(np.float64)
        slope[:-1] += penalty * weights[:-1]
        return loss + penalty / 2 * float(np.square(weights[:-1]).sum()), slope.ravel()

    found = minimize(
        objective,
        np.zeros(shape).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": options.max_iterations, "gtol": 1e-6, "ftol": 1e-9},
    )
    return np.asarray(found.x.reshape(shape), dtype=np.float32)


def solve_sgd(problem: _Problem, options: LinearOptions, seed: int) -> Floats:
    """Return the weights, (D + 1, C), after the published epochs of SGD."""
    rng = np.random.default_rng(derive(seed, "sgd"))
    weights = fresh_layer(rng, problem.inputs.shape[1], problem.classes)
    sgd = SGD(weights, options.momentum, problem.penalty)
    for epoch in range(options.epochs):
        lr = options.lr * GAMMA ** sum(epoch >= milestone for milestone in options.milestones)
        order = rng.permutation(len(problem.labels))
        sgd.epoch(problem.inputs, problem.labels, order, options.batch_size, lr)
    return weights


_Solver = Callable[[_Problem, LinearOptions, int], Floats]
_SOLVERS: dict[str, _Solver] = {"lbfgs": solve_lbfgs, "sgd": solve_sgd}
