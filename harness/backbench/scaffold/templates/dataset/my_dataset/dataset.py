"""The dataset. `backbench check` imports this module: do not import torch here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from backbench.plugin import ArrayImages, Dataset, DatasetMetadata, Split

from my_dataset import MyDatasetOptions

#: Each class, and the steps to the right and down along which its stripes change.
_CLASSES = {"across": (0, 1), "down": (1, 0), "rising": (1, 1), "falling": (1, -1)}


class MyDataset(Dataset):
    """Noisy stripes in four directions, drawn from numbers alone."""

    options: MyDatasetOptions

    def metadata(self) -> DatasetMetadata:
        """Return what is known before an image is drawn."""
        each, size = self.options.train_per_class, self.options.size
        return DatasetMetadata(
            classes=tuple(_CLASSES),
            train=each * len(_CLASSES),
            val=self.options.val_per_class * len(_CLASSES),
            size=(size, size),
            train_per_class=(each,) * len(_CLASSES),
        )

    def fingerprint(self, hash_file: Callable[[str], str]) -> str:  # noqa: ARG002
        """Name the content: another string for other images.

        A dataset of files returns the hash of their hashes, ``hash_file(path)`` each.
        """
        one = self.options
        return f"stripes 1, {one.train_per_class} + {one.val_per_class} of {one.size} px"

    def load(self, split: Split, *, verify: bool = True) -> ArrayImages:  # noqa: ARG002
        """Draw a split: the same images each time."""
        one = self.options
        each = one.train_per_class if split == "train" else one.val_per_class
        labels = np.repeat(np.arange(len(_CLASSES)), each)
        steps = np.array(list(_CLASSES.values()), dtype=np.float32)[labels]  # (N, 2)
        rng = np.random.default_rng(("train", "val").index(split))
        width = rng.uniform(5, 9, (len(labels), 1, 1))
        phase = rng.uniform(0, 2 * np.pi, (len(labels), 1, 1))
        rows, columns = np.mgrid[: one.size, : one.size]
        way = steps[:, :1, None] * columns + steps[:, 1:, None] * rows  # (N, H, W)
        stripes = np.sin(2 * np.pi * way / width + phase)[..., None]
        colors = rng.uniform(20, 70, (len(labels), 1, 1, 3))
        noise = rng.normal(0, 10, (len(labels), one.size, one.size, 3))
        pixels = np.clip(128 + stripes * colors + noise, 0, 255).astype(np.uint8)
        return ArrayImages(pixels, labels, [f"{split}/{index:05d}" for index in range(len(labels))])
