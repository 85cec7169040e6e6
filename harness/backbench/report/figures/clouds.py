"""Features of several encoders, and their projection on two dimensions: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbench.nn.knn import unit
from backbench.report.figures.encoders import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """Features of one encoder, of the same images for all.

    Args:
        name: The encoder.
        clean: Of N clean validation images, (N, D).
        triggered: Of M triggered ones, (M, D).
        poisons: Of P poisoned training images, (P, D).
    """

    name: str
    clean: Floats
    triggered: Floats | None = None
    poisons: Floats | None = None

    @property
    def parts(self) -> tuple[Floats | None, Floats | None, Floats | None]:
        """All features."""
        return self.clean, self.triggered, self.poisons


def projected(clouds: Sequence[Cloud]) -> tuple[list[Cloud], list[float]]:
    """Project features on the two main directions of each encoder's clean images.

    Features are scaled to length 1. A map may be turned and mirrored freely: all are turned to fit
    the first on the clean images, so that a class lies in the same direction on each.

    Returns:
        The clouds with two coordinates, and the share of the clean variance that these keep.
    """
    found: list[Cloud] = []
    kept = []
    for cloud in clouds:
        clean = unit(cloud.clean).astype(np.float64)
        middle = clean.mean(axis=0)
        _, values, directions = np.linalg.svd(clean - middle, full_matrices=False)
        axes = np.zeros((2, clean.shape[1]))
        axes[: len(directions[:2])] = directions[:2]
        axes *= np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])[:, None]
        turn = np.eye(2)
        if found:
            left, _, right = np.linalg.svd(((clean - middle) @ axes.T).T @ found[0].clean)
            turn = left @ right
        points = [
            None if one is None else (unit(one) - middle) @ axes.T @ turn for one in cloud.parts
        ]
        found.append(Cloud(cloud.name, *points))  # type: ignore[arg-type]
        total = float((values**2).sum())
        kept.append(float((values[:2] ** 2).sum() / total) if total else 0.0)
    return found, kept


def nearness(
    cloud: Cloud, labels: NDArray[np.int64], triggered: NDArray[np.int64], target: int | None
) -> tuple[float | None, float | None]:
    """Return the mean cosine of triggered images to the mean of their class, and of the target."""
    if cloud.triggered is None:
        return None, None
    clean, shown = unit(cloud.clean), unit(cloud.triggered)
    means = {
        int(one): unit(clean[labels == one].mean(axis=0, keepdims=True))[0]
        for one in np.unique(labels)
    }
    known = [at for at, one in enumerate(triggered) if int(one) in means]
    own = [float(shown[at] @ means[int(triggered[at])]) for at in known]
    toward = None if target not in means else float((shown @ means[target]).mean())
    return float(np.mean(own)) if own else None, toward
