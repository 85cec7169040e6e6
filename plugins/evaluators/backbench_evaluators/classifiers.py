"""Parts that evaluators share: the labelled images, linear classifiers, and their training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbench.nn.knn import unit
from backbench.plugin import StageError, derive
from backbench_evaluators.evaluator_options import LabelledOptions, labels_of_class, names_in

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

#: Added to the variance, as a batch norm does.
EPSILON = 1e-5

#: Adam's averages of the gradient and of its square, and what keeps it from dividing by zero.
BETA_1, BETA_2, TINY = 0.9, 0.999, 1e-8


def labelled_images(
    options: LabelledOptions, labels: Ints, sources: Sequence[str], seed: int
) -> Ints:
    """Return ascending indices, (M,), of the training images whose labels an evaluator is given.

    Args:
        options: ``labels``, a file of names, or ``label_fraction``.
        labels: Class of each training image, (N,).
        sources: Stable name of each training image.
        seed: Seed of the evaluator.

    Raises:
        StageError: If a name is that of no training image, or of several.
    """
    if options.labels is None:
        return labelled_subset(labels, options.label_fraction, derive(seed, "labelled"))
    return named_images(names_in(options.labels), sources, str(options.labels))


def named_images(names: Sequence[str], sources: Sequence[str], file: str) -> Ints:
    """Return ascending indices of the images that a list names by the ends of their paths.

    Raises:
        StageError: If a name is that of no image, or of several, or two are of one image.
    """
    ends: dict[str, list[int]] = {name.rpartition("/")[2]: [] for name in names}
    for index, source in enumerate(sources):
        end = source.rpartition("/")[2]
        if end in ends:
            ends[end].append(index)
    found: dict[int, str] = {}
    wrong = []
    for name in names:
        candidates = [
            index
            for index in ends[name.rpartition("/")[2]]
            if sources[index] == name or sources[index].endswith(f"/{name}")
        ]
        if len(candidates) == 1 and candidates[0] not in found:
            found[candidates[0]] = name
        else:
            wrong.append((name, len(candidates)))
    if wrong:
        name, count = wrong[0]
        what = {0: "no training image", 1: "an image that is named already"}.get(
            count, f"{count} training images"
        )
        raise StageError(
            f"{file}: {len(wrong)} of {len(names)} names are not those of one training image each: "
            f"{name!r} is that of {what}"
        )
    return np.sort(np.fromiter(found, dtype=np.int64))


def labelled_subset(labels: Ints, fraction: float, seed: int) -> Ints:
    """Choose the same share of each class, at least one image; return ascending indices, (M,)."""
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(members[: labels_of_class(len(members), fraction)])
    return np.sort(np.concatenate(chosen))


def standardization(features: Floats) -> tuple[Floats, Floats]:
    """Return what is subtracted from, and what is then multiplied with, (N, D): two (D,)."""
    variance = features.var(axis=0, ddof=1 if len(features) > 1 else 0, dtype=np.float64)
    mean = features.mean(axis=0, dtype=np.float64)
    return mean.astype(np.float32), (1 / np.sqrt(variance + EPSILON)).astype(np.float32)


def fresh_layer(rng: np.random.Generator, inputs: int, classes: int) -> Floats:
    """Draw the weights of a linear layer, (inputs + 1, classes), the last row the bias.

    Source: the start of torch.nn.Linear: all uniform in ± 1/√inputs.
    """
    bound = 1 / np.sqrt(inputs)
    return rng.uniform(-bound, bound, (inputs + 1, classes)).astype(np.float32)


def logits(weights: Floats, inputs: Floats) -> Floats:
    """Return (N, C) of weights (D + 1, C), the last row the bias, and inputs (N, D)."""
    fitting(len(weights) - 1, inputs.shape[1])
    return np.asarray(inputs @ weights[:-1] + weights[-1], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class LinearClassifier:
    """A linear layer on features: as they are, or scaled to length 1 and then standardized.

    Args:
        weights: (D + 1, classes), the last row the bias.
        mean: Subtracted, (D,); ``None`` where features are not normalized.
        scale: What is then multiplied with, (D,).
    """

    weights: Floats
    mean: Floats | None = None
    scale: Floats | None = None

    def inputs(self, features: Floats) -> Floats:
        """Return what the layer reads, (M, D), of features (M, D) as the encoder gives them."""
        if self.mean is None or self.scale is None:
            return features
        fitting(len(self.mean), features.shape[1])
        return np.asarray((unit(features) - self.mean) * self.scale)

    def __call__(self, features: Floats) -> Floats:
        """Return logits, (M, classes), of features (M, D) as the encoder gives them."""
        return logits(self.weights, self.inputs(features))

    def state(self) -> dict[str, Floats]:
        """Return ``weight`` (classes, D), ``bias`` (classes,) and, if any, ``mean``, ``scale``."""
        if self.mean is None or self.scale is None:
            return packed(self.weights)
        return {"mean": self.mean, "scale": self.scale, **packed(self.weights)}

    @classmethod
    def of(cls, state: Mapping[str, NDArray[Any]], *, normalized: bool) -> LinearClassifier:
        """Read what :meth:`state` gave.

        Raises:
            ValueError: If it is not such a classifier's.
        """
        names = {"mean", "scale"} if normalized else set()
        require(state, {"weight", "bias", *names})
        found = cls(unpacked(state), state.get("mean"), state.get("scale"))
        if any(state[name].shape != (len(found.weights) - 1,) for name in names):
            raise ValueError("mean and scale are not of the inputs of weight")
        return found


def fitting(inputs: int, features: int) -> None:
    """Check that a classifier is for an encoder of so many features."""
    if inputs != features:
        raise StageError(
            f"the classifier reads {inputs} features, and the encoder gives {features}"
        )


def packed(weights: Floats) -> dict[str, Floats]:
    """Return weights (D + 1, C) as they are stored: ``weight`` (C, D) and ``bias`` (C,)."""
    return {"weight": weights[:-1].T, "bias": weights[-1]}


def unpacked(state: Mapping[str, NDArray[Any]]) -> Floats:
    """Return the weights, (D + 1, C), of ``weight`` (C, D) and ``bias`` (C,)."""
    weight, bias = state["weight"], state["bias"]
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise ValueError(f"weight {weight.shape} and bias {bias.shape} do not belong together")
    return np.concatenate([weight.T, bias[None]]).astype(np.float32)


def require(state: Mapping[str, NDArray[Any]], names: set[str]) -> None:
    """Check that a stored classifier holds what it should."""
    missing, surplus = sorted(names - state.keys()), sorted(state.keys() - names)
    if missing or surplus:
        parts = [("missing", missing), ("unknown", surplus)]
        raise ValueError("; ".join(f"{word}: {', '.join(them)}" for word, them in parts if them))


class Optimizer(ABC):
    """Trains the weights (D + 1, C) of a linear classifier in place; the last row is the bias."""

    def __init__(self, weights: Floats, weight_decay: float) -> None:
        self._weights = weights
        self._decay = np.float32(weight_decay)

    @abstractmethod
    def step(self, gradient: Floats, lr: float) -> None:
        """Make one step with the gradient of the loss alone."""

    def epoch(
        self, inputs: Floats, labels: Ints, order: Ints, size: int, lr: float, *, drop_last: bool
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
        self._weights -= np.float32(size) * self._mean / (scale + np.float32(TINY))


def cross_entropy(weights: Floats, inputs: Floats, labels: Ints) -> tuple[float, Floats]:
    """Return a linear classifier's mean cross-entropy on (N, D), (N,), and its gradient."""
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
