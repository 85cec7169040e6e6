"""Image sets: labelled images that are small and in memory, or large and on disk.

A set in memory is one uint8 array and goes through whole-batch operations; any other set
gives images one at a time, each at its own size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

#: Label of an image whose class is not known.
UNKNOWN: Final = -1


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of an array that cannot be written to: what plugins are handed."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


class ImageSet(ABC):
    """Labelled RGB images, by index; its arrays cannot be written to.

    Args:
        labels: Class index of each image, (N,), int64.
        sources: A stable name of each image: its path below the dataset's root, or
            ``train/000017`` where there is no file.
        size: Height and width that all images share; ``None`` where they differ.
    """

    _pixels: Pixels | None = None

    def __init__(
        self, labels: Labels, sources: Sequence[str], size: tuple[int, int] | None = None
    ) -> None:
        self.labels: Labels = read_only(labels)
        self.sources = sources
        self.size = size

    @property
    def pixels(self) -> Pixels | None:
        """All images, (N, H, W, 3), uint8, where they share one size and are in memory."""
        return self._pixels

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8; the caller must not write to it."""


class ArrayImages(ImageSet):
    """Images of one size, (N, H, W, 3), uint8, in memory, with N labels and N stable names."""

    def __init__(self, pixels: Pixels, labels: Labels, sources: Sequence[str]) -> None:
        if not len(pixels) == len(labels) == len(sources):
            message = f"{len(pixels)} images, {len(labels)} labels, {len(sources)} sources"
            raise ValueError(message)
        super().__init__(labels, sources, _size(pixels))
        self._pixels: Pixels = read_only(pixels)

    @property
    def pixels(self) -> Pixels:
        """All images, (N, H, W, 3), uint8."""
        return self._pixels

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8."""
        image: Pixels = self._pixels[index]
        return image

    def writable_pixels(self) -> Pixels:
        """Return all images, (N, H, W, 3), to be written to without changing the set."""
        return self._pixels.copy()


class _Detached(ImageSet):
    """Images of another set, or those at some indices, from which no attribute leads to that set.

    A plugin is handed parts of a set, or a set without its labels: the labels, and the clean
    versions of poisoned images, are not an attribute away.
    """

    def __init__(
        self,
        base: ImageSet,
        indices: NDArray[np.int64] | None,
        labels: Labels,
        sources: Sequence[str],
    ) -> None:
        super().__init__(labels, sources, base.size)
        pixels = base.pixels
        self._image: Callable[[int], Pixels] = lambda index: base.image(
            int(index if indices is None else indices[index])
        )
        if pixels is not None:
            self._pixels = read_only(pixels if indices is None else pixels[indices])
            self._image = self._pixels.__getitem__

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8."""
        return self._image(index)


class Subset(_Detached):
    """The images of another set at the given indices, (M,), int64."""

    def __init__(self, base: ImageSet, indices: NDArray[np.int64]) -> None:
        sources = tuple(base.sources[int(i)] for i in indices)
        super().__init__(base, indices, base.labels[indices], sources)


class Unlabelled(_Detached):
    """A set as a scraper finds it: labels of -1 and numbers for names."""

    def __init__(self, images: ImageSet) -> None:
        labels = np.full(len(images), UNKNOWN, dtype=np.int64)
        super().__init__(images, None, labels, tuple(f"{i:08d}" for i in range(len(images))))


class Overlay(ImageSet):
    """Another set with some images replaced: a poisoned training set; the clean set stays as it is.

    A new image, (H, W, 3), uint8, has the base's size where its images share one.
    """

    def __init__(self, base: ImageSet, changed: Mapping[int, Pixels]) -> None:
        super().__init__(base.labels, base.sources, base.size)
        self._base = base
        self._changed = changed

    @cached_property
    def pixels(self) -> Pixels | None:
        """All images, (N, H, W, 3), or ``None``; the new images are put in at the first use."""
        if self._base.pixels is None:
            return None
        if isinstance(self._base, ArrayImages):
            pixels = self._base.writable_pixels()
        else:
            pixels = self._base.pixels.copy()
        for index, image in self._changed.items():
            pixels[index] = image
        return read_only(pixels)

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8."""
        image = self._changed.get(index)
        return self._base.image(index) if image is None else image


def _size(pixels: Pixels) -> tuple[int, int]:
    height, width = pixels.shape[1:3]
    return height, width


def no_images() -> ArrayImages:
    """Return the validation images of a dataset that has none."""
    return ArrayImages(np.empty((0, 1, 1, 3), np.uint8), np.empty(0, np.int64), ())
