"""Jigsaw: solving puzzles of nine tiles."""

from __future__ import annotations

import functools
import itertools
from enum import IntEnum

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from backbench.nn import in_groups, send
from backbench.plugin import Batch, SSLMethod, TrainingContext
from backbench.views.boxes import Purpose, square_boxes
from backbench.views.color import lightness
from backbench.views.randomness import Draws
from backbench.views.views import draws_of
from backbench_ssl.method_options import JigsawOptions

Ints = NDArray[np.int64]

GRID = 3

#: Number of tiles.
TILES = 9

#: Projection of colors that removes what chromatic aberration shows of positions.
PROJECTION = ((5 / 6, 1 / 3, -1 / 6), (1 / 3, 1 / 3, 1 / 3), (-1 / 6, 1 / 3, 5 / 6))


class _Purpose(IntEnum):
    PERMUTATION = Purpose.PLUGIN
    POSITION = Purpose.PLUGIN + 1
    OFFSETS = Purpose.PLUGIN + 2
    GRAY = Purpose.PLUGIN + 3
    PROJECTION = Purpose.PLUGIN + 4


class Jigsaw(SSLMethod):
    """Predict which of P permutations the nine tiles of an image were put through.

    The paper's context-free network: one trunk sees each tile on its own, and a classifier sees
    the features of all nine.

    Source: Noroozi and Favaro 2016; published code jigsaw/train_jigsaw.py: a trunk shared by
        the slots, one after another, so that batch norm sees each slot on its own; features side
        by side; one linear layer.
    Differs: the set of permutations (see :func:`distant_permutations`); an image's square
        is cut out and resized in one step, which may move a value by 1/255; every image has its
        own draws in every epoch, where torch 1.6 repeats them (``np.random`` in workers).
    """

    permutations: Tensor

    def __init__(self, options: JigsawOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.options = options
        self.classifier = nn.Linear(TILES * self.encoder.feature_dim, options.permutations)
        self._permutations = distant_permutations(options.permutations)

    def views(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Return nine slots, each (B, 3, tile, tile), and indices of permutations, (B,)."""
        options, draws = self.options, draws_of(batch, 0)
        side, purpose = GRID * options.cell, _Purpose.POSITION
        boxes = square_boxes(draws, purpose, batch.sizes, options.resize, side)  # (B, 4)
        images = batch.crop(boxes, side, isolated=False)  # (B, 3, side, side)
        images = recolor(images, draws, options.grayscale, options.projection)

        index = draws.integers(_Purpose.PERMUTATION, options.permutations, 1)[:, 0]  # (B,)
        offsets = draws.integers(_Purpose.OFFSETS, options.jitter + 1, 2 * TILES)
        permutations, offsets = self._permutations[index], offsets.reshape(-1, TILES, 2)  # (B, 9)
        slots = cut_tiles(images, permutations, offsets, cell=options.cell, tile=options.tile)
        return slots, send(index, images.device)

    def training_loss(self, views: tuple[list[Tensor], Tensor]) -> Tensor:
        """Return the cross-entropy of the permutation."""
        slots, index = views  # nine times (B, 3, tile, tile); (B,)
        features = [in_groups(self.encoder, slot, self.norm_groups) for slot in slots]  # (B, D)
        scores = self.classifier(torch.cat(features, dim=1))  # (B, P)
        return F.cross_entropy(scores.float(), index)


def recolor(images: Tensor, draws: Draws, gray: float, projection: float) -> Tensor:
    """Make some images, (B, 3, S, S), gray, and project the colors of some others, in place.

    ``gray`` and ``projection`` are probabilities, the latter among images that stay colored.
    """
    grayed = draws.uniform(_Purpose.GRAY, 1)[:, 0] < gray
    projected = ~grayed & (draws.uniform(_Purpose.PROJECTION, 1)[:, 0] < projection)
    if grayed.any():
        rows = send(np.flatnonzero(grayed), images.device)
        images[rows] = lightness(images[rows]).expand(-1, 3, -1, -1)
    if projected.any():
        rows = send(np.flatnonzero(projected), images.device)
        matrix = send(torch.tensor(PROJECTION), images.device)
        images[rows] = torch.einsum("dc,bchw->bdhw", matrix, images[rows])
    return images


def cut_tiles(
    images: Tensor, permutations: Ints, offsets: Ints, *, cell: int, tile: int
) -> list[Tensor]:
    """Cut nine tiles out of each image and put them into their slots.

    Args:
        images: (B, 3, 3 cell, 3 cell).
        permutations: Source tile, row by row → slot, (B, 9).
        offsets: Of each source tile from its cell's corner, down and right, (B, 9, 2).
        cell: Side of a cell in pixels.
        tile: Side of a tile in pixels.

    Returns:
        Nine slots, each (B, 3, tile, tile).
    """
    batch, side = len(images), images.shape[-1]
    source = permutations.argsort(axis=1)
    offsets = np.take_along_axis(offsets, source[:, :, None], axis=1)
    top = source // GRID * cell + offsets[:, :, 0]
    left = source % GRID * cell + offsets[:, :, 1]
    reach = np.arange(tile)
    rows = (top[:, :, None] + reach)[:, :, :, None]
    columns = (left[:, :, None] + reach)[:, :, None, :]
    places = send((rows * side + columns).reshape(batch, 1, -1), images.device)
    tiles = images.flatten(2).gather(2, places.expand(-1, 3, -1))
    return list(tiles.view(batch, 3, TILES, tile, tile).unbind(2))


@functools.cache
def distant_permutations(count: int) -> Ints:
    """Choose permutations one by one, each as far as possible from those before it.

    The first is compared with the identity, which is not chosen itself. Of those with the
    greatest mean Hamming distance to the chosen ones, the one whose nearest is farthest is taken,
    and of several the first in lexicographic order: the set depends on nothing but its length.

    Source: Noroozi and Favaro 2016, algorithm 1 (maximal average Hamming distance).
    Differs: the published set of 2,000 came out of an unseeded search. Ours has the same mean
        distance, 8.004 (the greatest there is), and another least distance.
    """
    candidates = np.array(list(itertools.permutations(range(TILES))), dtype=np.int8).T.copy()
    values = np.arange(TILES, dtype=np.int8)[:, None]
    there = (candidates[:, None] == values).view(np.int8)  # place, tile, candidate
    # Sums and maxima, over the chosen ones, of the number of tiles in the same place; the sums
    # decide first, so that they count TILES + 1 times.
    total = np.zeros(candidates.shape[1], dtype=np.int32)
    worst = np.zeros(candidates.shape[1], dtype=np.int8)
    same, rank = np.empty_like(worst), np.empty_like(total)
    taken = np.iinfo(np.int32).max // 2
    total[0] = taken
    latest, chosen = 0, []
    for _ in range(count):
        same.fill(0)
        for place, tile in enumerate(candidates[:, latest]):
            same += there[place, tile]
        np.maximum(worst, same, out=worst)
        same *= TILES + 1
        total += same
        np.add(total, worst, out=rank)
        latest = int(rank.argmin())
        total[latest] = taken
        chosen.append(latest)
    permutations = candidates[:, chosen].T.astype(np.int64)
    permutations.setflags(write=False)  # every training of this process has the same array
    return permutations
