"""BackdoorIDS: the features of a triggered image jump when a growing mask hides the trigger."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbench.plugin import Defense, DefenseContext, Encoder, ImageSet, derive, evaluation_batch
from backbench_defenses.detector_options import BackdoorIDSOptions

#: Images whose masked versions go through the encoder together.
_BATCH = 128


class BackdoorIDS(Defense):
    """Rejects an image whose features fall into several clusters while it is masked step by step.

    A trigger holds the features where the attacker wants them until the mask hides it; then they
    jump to those of what is left of the image. DBSCAN sees two clusters in the sequence.

    Source: Huang et al. 2026, arXiv 2603.11664 (abstract): embeddings along a trajectory of growing
        masks, density-based clustering, rejected where there is more than one cluster.
    Differs: the order of masking, the fill and the distance are ours: squares of a grid in an order
        that is drawn once for all images, the encoder's mean color, cosine distance. The paper
        decides at one radius; the score is the largest radius at which DBSCAN finds several
        clusters, less that radius, so that images have an order.
    """

    options: BackdoorIDSOptions

    def score(
        self, encoder: Encoder, images: ImageSet, context: DefenseContext
    ) -> NDArray[np.float64]:
        """Score every image; see :meth:`backbench.plugin.Defense.score`."""
        options, side = self.options, encoder.spec.image_size
        rng = np.random.default_rng(derive(context.seed, "backdoor-ids"))
        trajectories = [
            masks(side, options.grid, options.steps, options.most, rng)
            for _ in range(options.orders)
        ]
        scores = np.empty(len(images))
        for start in range(0, len(images), _BATCH):
            rows = range(start, min(start + _BATCH, len(images)))
            batch = evaluation_batch(encoder, images, rows)  # (B, 3, S, S)
            radii = [
                split_radius(along(encoder, batch, masked), options.neighbors)
                for masked in trajectories
            ]
            scores[rows.start : rows.stop] = np.max(radii, axis=0) - options.radius
            context.progress(rows.stop, len(images), {})
        return scores


def masks(
    side: int, grid: int, steps: int, most: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return growing masks of an image: random squares of a grid, none of them at first.

    Args:
        side: Side of the image in pixels, S.
        grid: Squares along each side.
        steps: Number of masks, T.
        most: Share of the squares in the last mask.
        rng: Draws the order of the squares.

    Returns:
        (T, S, S), true where the image is masked; each mask holds the one before.
    """
    order = rng.permutation(grid * grid).reshape(grid, grid)
    square = np.arange(side) * grid // side
    counts = np.rint(np.linspace(0, most * grid * grid, steps))
    return np.asarray(order[np.ix_(square, square)] < counts[:, None, None])


@torch.inference_mode()
def along(encoder: Encoder, images: Tensor, masked: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the features of B images under T masks, (B, T, D), of length 1."""
    found = [
        F.normalize(encoder(torch.where(mask, encoder.mean, images)).float(), dim=1)
        for mask in torch.from_numpy(masked).to(images.device)
    ]
    return torch.stack(found, dim=1).cpu().numpy()


def split_radius(features: NDArray[np.float32], neighbors: int) -> NDArray[np.float64]:
    """Return the largest radius below which DBSCAN finds more than one cluster in a sequence.

    At a radius, core points are those with so many neighbors, themselves included; clusters are
    the core points that chains of neighboring core points connect. So there are as many clusters
    as core points, less the edges of a minimum spanning tree of mutual reachability up to that
    radius, and their number changes at these edges alone.

    Args:
        features: (M, T, D), of length 1.
        neighbors: DBSCAN's ``min_samples``.

    Returns:
        (M,), cosine distances; 0 where there is one cluster at any radius.

    Source: Campello et al. 2013, density-based clustering based on hierarchical density estimates:
        mutual reachability, whose spanning tree has the clusters of DBSCAN at every radius.
    """
    wide = features.astype(np.float64)
    distance = np.maximum(1 - wide @ wide.transpose(0, 2, 1), 0)  # (M, T, T)
    at = np.arange(distance.shape[1])
    distance[:, at, at] = 0
    core = np.sort(distance, axis=2)[:, :, neighbors - 1]  # (M, T)
    reach = np.maximum(distance, np.maximum(core[:, :, None], core[:, None, :]))
    edges = spanning_tree(reach)  # (M, T - 1)
    cores = (core[:, None, :] < edges[:, :, None]).sum(axis=2)
    joined = (edges[:, None, :] < edges[:, :, None]).sum(axis=2)
    radii: NDArray[np.float64] = np.where(cores - joined > 1, edges, 0.0).max(axis=1)
    return radii


def spanning_tree(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges of minimum spanning trees: of M graphs, (M, T, T), (M, T - 1)."""
    graphs, points = np.arange(len(weights)), weights.shape[1]
    inside = np.zeros(weights.shape[:2], dtype=bool)
    inside[:, 0] = True
    nearest = weights[:, 0].copy()
    edges = np.empty((len(weights), points - 1))
    for step in range(points - 1):
        outside = np.where(inside, np.inf, nearest)
        chosen = outside.argmin(axis=1)
        edges[:, step] = outside[graphs, chosen]
        inside[graphs, chosen] = True
        nearest = np.minimum(nearest, weights[graphs, chosen])
    return edges
