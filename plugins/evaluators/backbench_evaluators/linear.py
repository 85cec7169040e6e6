"""Linear evaluation: one linear layer on normalised features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from backbench.plugin import Evaluator
from backbench.seeds import derive
from backbench_evaluators.features import (
    Floats,
    NormalisedHead,
    fresh_layer,
    labelled_subset,
    standardisation,
    unit,
)
from backbench_evaluators.options import LinearOptions
from backbench_evaluators.sgd import SGD, cross_entropy

#: What a milestone multiplies the learning rate of SGD by.
GAMMA = 0.1


class Linear(Evaluator):
    """A linear classifier; features are scaled to length 1, then standardised.

    The default solver finds the minimum of the penalised cross-entropy, which is unique: the
    result depends neither on a learning rate nor on the number of pictures. The published SGD
    makes 40 epochs whatever it is given, and on a few hundred pictures these are too few to
    learn anything.

    Args:
        options: See :class:`LinearOptions`.
        seed: Seed of the choice of labelled pictures, and of SGD.

    Source: Saha et al. 2022, section 4; published code moco/eval_linear.py: mean and unbiased
        variance of the L2-normalised training features, 1e-5; SGD .01, momentum .9, weight decay
        1e-4, batch 256, 40 epochs, a tenth at 15 and 30.
    Differs: features of whole pictures, computed once, instead of random crops in every epoch;
        mean and variance are those of the labelled pictures. L-BFGS goes on to the minimum.
    """

    options: LinearOptions

    def fit(self, features: Floats, labels: NDArray[np.int64], classes: int) -> None:
        """Learn from clean training features; see :meth:`backbench.plugin.Evaluator.fit`."""
        chosen = labelled_subset(labels, self.options.label_fraction, derive(self.seed, "labelled"))
        normalised = unit(features[chosen])
        mean, scale = standardisation(normalised)
        solve = _SOLVERS[self.options.solver]
        weights = solve(
            (normalised - mean) * scale, labels[chosen], classes, self.options, self.seed
        )
        self._head = NormalisedHead(mean, scale, weights)

    def predict(self, features: Floats) -> Floats:
        """Return logits, (M, classes), of features (M, D)."""
        return self._head(features)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return ``mean``, ``scale`` (D,), ``weight`` (classes, D) and ``bias`` (classes,)."""
        return self._head.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave; see :meth:`backbench.plugin.Evaluator.restore`."""
        self._head = NormalisedHead.of(state)


def solve_lbfgs(
    inputs: Floats, labels: NDArray[np.int64], classes: int, options: LinearOptions, _seed: int
) -> Floats:
    """Return the weights, (D + 1, C), at the minimum; biases carry no penalty."""
    shape = (inputs.shape[1] + 1, classes)

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(shape)
        loss, gradient = cross_entropy(weights.astype(np.float32), inputs, labels)
        slope = gradient.astype(np.float64)
        slope[:-1] += options.penalty * weights[:-1]
        return loss + options.penalty / 2 * float(np.square(weights[:-1]).sum()), slope.ravel()

    found = minimize(
        objective,
        np.zeros(shape).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": options.max_iterations, "gtol": 1e-6, "ftol": 1e-9},
    )
    return np.asarray(found.x.reshape(shape), dtype=np.float32)


def solve_sgd(
    inputs: Floats, labels: NDArray[np.int64], classes: int, options: LinearOptions, seed: int
) -> Floats:
    """Return the weights, (D + 1, C), after the published epochs of SGD."""
    rng = np.random.default_rng(derive(seed, "sgd"))
    weights = fresh_layer(rng, inputs.shape[1], classes)
    sgd = SGD(weights, options.momentum, options.penalty)
    for epoch in range(options.epochs):
        lr = options.lr * GAMMA ** sum(epoch >= milestone for milestone in options.milestones)
        sgd.epoch(inputs, labels, rng.permutation(len(labels)), options.batch_size, lr)
    return weights


_Solver = Callable[[Floats, NDArray[np.int64], int, LinearOptions, int], Floats]
_SOLVERS: dict[str, _Solver] = {"lbfgs": solve_lbfgs, "sgd": solve_sgd}
