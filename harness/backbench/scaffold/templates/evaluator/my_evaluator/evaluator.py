"""The evaluator. A stage imports this module when it needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from backbench.plugin import Evaluator, Scores
from numpy.typing import NDArray

from my_evaluator import MyEvaluatorOptions


class MyEvaluator(Evaluator):
    """Predicts the class whose mean feature has the nearest direction."""

    options: MyEvaluatorOptions

    def fit(self, features: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> None:
        """Compute the center of all features, and the direction of each class from there."""
        self.center = features.mean(axis=0) * np.float32(self.options.center)  # (D,)
        members = np.eye(classes, dtype=np.float32)[labels]  # (N, classes)
        counts = np.maximum(members.sum(axis=0), 1)
        self.directions = unit(members.T @ (features - self.center) / counts[:, None])

    def predict(self, features: NDArray[np.float32]) -> Scores:
        """Return the cosine of each image with each class, (M, classes)."""
        return unit(features - self.center) @ self.directions.T

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return what was fitted; it is stored."""
        return {"center": self.center, "directions": self.directions}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave."""
        if set(state) != {"center", "directions"}:
            raise ValueError("these arrays are not a center and directions")
        self.center, self.directions = state["center"], state["directions"]


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows, (N, D), of length 1."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    directions: NDArray[np.float32] = rows / np.maximum(lengths, 1e-12)
    return directions
