"""A batch of training images, before any view of them is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Boxes = NDArray[np.float32]
Flips = NDArray[np.bool_]
Interpolation = Literal["bilinear", "bicubic"]


class Batch(ABC):
    """Images of a training set, on one device, each perhaps of its own size.

    Args:
        indices: Positions of the images in the training set, (B,), int64.
        epoch: Number of the epoch.
        seed: Seed of the random views, the same in every batch: draw from it with ``epoch`` and
            ``indices``.
        device: Where views are made.
    """

    def __init__(
        self, indices: NDArray[np.int64], *, epoch: int, seed: int, device: torch.device
    ) -> None:
        self.indices = indices
        self.epoch = epoch
        self.seed = seed
        self.device = device

    def __len__(self) -> int:
        return len(self.indices)

    @property
    @abstractmethod
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each image, (B, 2)."""

    def crop(
        self,
        boxes: Boxes,
        size: int,
        *,
        interpolation: Interpolation = "bilinear",
        flip: Flips | None = None,
        isolated: bool = True,
    ) -> Tensor:
        """Cut a box out of each image and resize it, antialiased.

        Args:
            boxes: Top, left, height, width in pixels, (B, 4); whole numbers if ``isolated``.
            size: Side of the result.
            interpolation: Filter.
            flip: Which results are mirrored left to right, (B,).
            isolated: Crop, then resize; otherwise resize, then crop: the filter also sees what
                lies around the box.

        Returns:
            (B, 3, size, size), float32 in [0, 1], on the batch's device.
        """
        mirrored = np.zeros(len(self), dtype=np.bool_) if flip is None else flip
        return self._cut(boxes, size, interpolation, mirrored, isolated=isolated)

    @abstractmethod
    def _cut(
        self, boxes: Boxes, size: int, interpolation: Interpolation, flip: Flips, *, isolated: bool
    ) -> Tensor: ...
