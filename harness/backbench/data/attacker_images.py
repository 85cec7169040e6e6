"""Images that an attacker keeps in a folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from backbench.data.decode import decode
from backbench.data.image_files import images_of
from backbench.errors import DataError
from backbench.images import ImageSet, Pixels


class AttackerImages(ImageSet):
    """The images of a folder and of the folders in it, sorted by path; no class is known.

    An image is (H, W, 3), or (H, W, 4) where its file has an alpha channel: a mask.

    Args:
        folder: The folder.

    Raises:
        DataError: If there is no image, or one that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.paths = images_of(folder)
        if not self.paths:
            raise DataError(f"{folder}: no image is in this folder; put one there")
        labels = np.full(len(self.paths), -1, dtype=np.int64)
        super().__init__(labels, [os.path.relpath(path, folder) for path in self.paths])

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3) or (H, W, 4), uint8."""
        return decode_masked(self.paths[index])


def decode_masked(path: str | Path) -> Pixels:
    """Read an image file as (H, W, 3), or as (H, W, 4) where it has an alpha channel, uint8."""
    return decode(path, alpha=True)
