"""Image sets: labelled images that are small and in memory, or large and on disk.

Two shapes of one thing. A *uniform* set is one uint8 array and goes through whole-batch
operations; a *ragged* set hands out images one at a time, each at its own size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


class ImageSet(Protocol):
    """Labelled RGB images, by index.

    Attributes:
        labels: Class index of each image, (N,), int64.
        sources: A stable name of each image: its path below the dataset's root, or
            ``train/000017`` where there is no file.
        pixels: All images, (N, H, W, 3), uint8, where they share one size and are in
            memory; ``None`` for a ragged set.
    """

    @property
    def labels(self) -> Labels:
        """Class indices, (N,)."""
        ...

    @property
    def sources(self) -> Sequence[str]:
        """Stable names, N."""
        ...

    @property
    def pixels(self) -> Pixels | None:
        """All images, (N, H, W, 3), or ``None``."""
        ...

    def __len__(self) -> int: ...
    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8; the caller must not write to it."""
        ...


class ArrayImages:
    """A uniform image set.

    Args:
        pixels: (N, H, W, 3), uint8.
        labels: (N,), int64.
        sources: N stable names.
    """

    def __init__(self, pixels: Pixels, labels: Labels, sources: Sequence[str]) -> None:
        if not len(pixels) == len(labels) == len(sources):
            message = f"{len(pixels)} images, {len(labels)} labels, {len(sources)} sources"
            raise ValueError(message)
        self.pixels = pixels
        self.labels = labels
        self.sources = sources

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8."""
        image: Pixels = self.pixels[index]
        return image

    def writable_pixels(self) -> Pixels:
        """Return all images, (N, H, W, 3), to be written to without changing the set."""
        return self.pixels.copy()


class Subset:
    """The images of another set at the given indices.

    Args:
        base: The whole set.
        indices: Positions in ``base``, (M,), int64.
    """

    def __init__(self, base: ImageSet, indices: NDArray[np.int64]) -> None:
        self.labels = base.labels[indices]
        self.sources = tuple(base.sources[int(i)] for i in indices)
        self.pixels = None if base.pixels is None else base.pixels[indices]
        self._image = _giver(base, indices) if self.pixels is None else self.pixels.__getitem__

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8."""
        return self._image(index)


class Unlabelled:
    """A set as a scraper finds it: no labels, no names; no attribute leads to the set itself.

    Args:
        images: The images.
    """

    def __init__(self, images: ImageSet) -> None:
        self.labels = np.full(len(images), -1, dtype=np.int64)
        self.sources = tuple(f"{index:08d}" for index in range(len(images)))
        self.pixels = images.pixels
        self._image = _giver(images) if self.pixels is None else self.pixels.__getitem__

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8."""
        return self._image(index)


def _giver(images: ImageSet, indices: NDArray[np.int64] | None = None) -> Callable[[int], Pixels]:
    """Return what gives a ragged set's images, and has no attribute that holds the set.

    A plugin is handed parts of a set, or a set without its labels: what these were taken from
    (labels, clean versions of poisoned images) shall not be an attribute away.

    Args:
        images: The set.
        indices: Positions in it; all if ``None``.
    """
    return lambda index: images.image(int(index if indices is None else indices[index]))


class Overlay:
    """Another set with some images replaced: a poisoned training set.

    Args:
        base: The clean set, not modified.
        changed: New images by index in ``base``, (H, W, 3), uint8. Of the base's size where
            the base is uniform.
    """

    def __init__(self, base: ImageSet, changed: Mapping[int, Pixels]) -> None:
        self._base = base
        self._changed = changed
        self.labels = base.labels
        self.sources = base.sources

    @cached_property
    def pixels(self) -> Pixels | None:
        """All images, (N, H, W, 3), or ``None``; the new ones are put in when first asked for."""
        if self._base.pixels is None:
            return None
        if isinstance(self._base, ArrayImages):
            pixels = self._base.writable_pixels()
        else:
            pixels = self._base.pixels.copy()
        for index, image in self._changed.items():
            pixels[index] = image
        return pixels

    def __len__(self) -> int:
        return len(self._base)

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8."""
        image = self._changed.get(index)
        return self._base.image(index) if image is None else image
