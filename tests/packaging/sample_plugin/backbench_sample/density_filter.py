"""Images that share a trigger have features that crowd together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbench.plugin import Defense, DefenseContext, Encoder, ImageSet, extract
from backbench_sample import DensityFilterOptions

_ROWS = 1024


class DensityFilter(Defense):
    """Drops the images that are most like their nearest neighbors."""

    options: DensityFilterOptions

    def sanitize(
        self, encoder: Encoder, images: ImageSet, context: DefenseContext
    ) -> NDArray[np.float64]:
        """Score each image by its mean cosine similarity to its nearest neighbors."""
        features = extract(encoder, images, device=context.device)
        features -= features.mean(axis=0)
        features /= np.linalg.norm(features, axis=1, keepdims=True) + 1e-12
        density = np.empty(len(images), dtype=np.float64)
        for start in range(0, len(images), _ROWS):
            rows = slice(start, start + _ROWS)
            similarity = np.sort(features[rows] @ features.T, axis=1)
            # The last column is the image itself.
            density[rows] = similarity[:, -1 - self.options.neighbors : -1].mean(axis=1)
            context.progress(min(start + _ROWS, len(images)), len(images), {})
        return density - np.quantile(density, 1 - self.options.drop)
