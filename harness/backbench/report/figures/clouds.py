"""Features of several encoders, and their maps in two dimensions: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from backbench.nn.knn import unit
from backbench.report.figures.encoders import Floats

#: Steps of t-SNE, 250 of them its early exaggeration.
_STEPS: Final = 400


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
    """Project features on the first two principal components of each encoder's clean images.

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


def embedded(clouds: Sequence[Cloud]) -> list[Cloud]:
    """Map the features of each encoder by t-SNE, which keeps near features near.

    Each map begins as that of :func:`projected`, and is turned to fit the first on the clean
    images. Features are scaled to length 1; there are at least eight images.

    Raises:
        ImportError: Without scikit-learn.

    Source: van der Maaten and Hinton 2008.
    """
    from sklearn.manifold import TSNE

    found: list[Cloud] = []
    for cloud, begin in zip(clouds, projected(clouds)[0], strict=True):
        sizes = [0 if one is None else len(one) for one in cloud.parts]
        features = np.concatenate([unit(one) for one in cloud.parts if one is not None])
        points = np.concatenate([one for one in begin.parts if one is not None])
        tsne = TSNE(
            init=1e-4 * points / max(float(points[:, 0].std()), 1e-12),
            perplexity=min(30.0, len(features) / 4),
            learning_rate="auto",
            max_iter=_STEPS,
            random_state=0,
            n_jobs=1,
        )
        placed = tsne.fit_transform(features.astype(np.float32)).astype(np.float64)
        placed -= placed[: sizes[0]].mean(axis=0)
        if found:
            left, _, right = np.linalg.svd(placed[: sizes[0]].T @ found[0].clean)
            placed = placed @ left @ right
        parts = np.split(placed, np.cumsum(sizes)[:-1])
        named = [part if size else None for part, size in zip(parts, sizes, strict=True)]
        found.append(Cloud(cloud.name, *named))  # type: ignore[arg-type]
    return found


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
