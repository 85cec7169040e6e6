"""What evaluators have in common: normalized features, labelled images, linear classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbench.errors import StageError
from backbench.nn.knn import unit
from backbench_evaluators.evaluator_options import labels_of_class

Floats = NDArray[np.float32]

#: Added to the variance, as a batch norm does.
EPSILON = 1e-5


def labelled_subset(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
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
