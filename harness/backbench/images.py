"""Image sets: labelled images that are small and in memory, or large and on disk.

A set in memory is one uint8 array and goes through whole-batch operations; any other set
gives images one at a time, each at its own size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: One image: height, width and the three colors, (H, W, 3).
Pixels = NDArray[np.uint8]

#: The class of each image as an index, (N,); -1 where it is not known.
Labels = NDArray[np.int64]

#: Label of an image whose class is not known.
UNKNOWN: Final = -1


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of an array that cannot be written to: what plugins are handed."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


class Stack(NamedTuple):
    """Images of one size in memory: their indices in a set, (M,), and pixels, (M, H, W, 3)."""

    indices: NDArray[np.int64]
    pixels: Pixels


class ImageSet(ABC):
    """Labelled RGB images, by index; its arrays cannot be written to.

    Args:
        labels: Class index of each image, (N,), int64.
        sources: A stable name of each image: its path below the dataset's root, or
            ``train/000017`` where there is no file.
        size: Height and width that all images share, but for poisons of another size; ``None``
            where they differ.
    """

    _pixels: Pixels | None = None
    _stacks: tuple[Stack, ...] = ()

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

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """All images by size, where they are in memory; else nothing."""
        pixels = self.pixels
        if pixels is None:
            return self._stacks
        return (Stack(np.arange(len(self)), pixels),)

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
        elif base.stacks:
            chosen = np.arange(len(base)) if indices is None else indices
            self._stacks = tuple(_part_of(stack, chosen) for stack in base.stacks)
            places = {
                int(index): image
                for stack in self._stacks
                for index, image in zip(stack.indices, stack.pixels, strict=True)
            }
            self._image = places.__getitem__

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
    """Another set with some images replaced and others added: a poisoned training set.

    The clean set stays as it is. An added image has no class: its label is -1.

    Args:
        base: The clean set, of N images.
        changed: The new images, (H, W, 3), uint8, by index; those from N on are added.
    """

    def __init__(self, base: ImageSet, changed: Mapping[int, Pixels]) -> None:
        added = sum(index >= len(base) for index in changed)
        labels, sources = base.labels, base.sources
        if added:
            labels = np.concatenate([labels, np.full(added, -1, dtype=np.int64)])
            sources = (*sources, *(added_source(number) for number in range(added)))
        super().__init__(labels, sources, base.size)
        self._base = base
        self._changed = changed

    @cached_property
    def pixels(self) -> Pixels | None:
        """All images, (N, H, W, 3), or ``None``; the new images are put in at the first use."""
        return self._in_memory[0].pixels if len(self._in_memory) == 1 else None

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """All images by size, where the base has them in memory; else nothing."""
        return self._in_memory

    @cached_property
    def _in_memory(self) -> tuple[Stack, ...]:
        if self._base.pixels is None:
            return ()
        if isinstance(self._base, ArrayImages):
            pixels = self._base.writable_pixels()
        else:
            pixels = self._base.pixels.copy()
        kept = np.ones(len(pixels), dtype=bool)
        others: dict[tuple[int, ...], dict[int, Pixels]] = {}
        for index, image in self._changed.items():
            if index < len(pixels) and image.shape == pixels.shape[1:]:
                pixels[index] = image
                continue
            others.setdefault(image.shape, {})[index] = image
            if index < len(pixels):
                kept[index] = False
        if not others:
            return (Stack(np.arange(len(pixels)), read_only(pixels)),)
        indices = np.flatnonzero(kept)
        same = others.pop(pixels.shape[1:], {})
        stacks = [(np.concatenate([indices, [*same]]), [pixels[indices], *_rows(same)])]
        stacks += [(np.array([*one]), _rows(one)) for one in others.values()]
        return tuple(
            Stack(which.astype(np.int64), read_only(np.concatenate(images)))
            for which, images in stacks
            if len(which)
        )

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8."""
        image = self._changed.get(index)
        return self._base.image(index) if image is None else image


def added_source(number: int) -> str:
    """Return the name of an added poison, which has no file: ``poison/000017``."""
    return f"poison/{number:06d}"


def _rows(images: Mapping[int, Pixels]) -> list[Pixels]:
    return [image[None] for image in images.values()]


def _part_of(stack: Stack, chosen: NDArray[np.int64]) -> Stack:
    """Return the images of a stack that are among the chosen ones, by their new indices."""
    where = {int(index): row for row, index in enumerate(stack.indices)}
    found = [(new, where[int(old)]) for new, old in enumerate(chosen) if int(old) in where]
    new, rows = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return Stack(new, read_only(stack.pixels[rows]))


def _size(pixels: Pixels) -> tuple[int, int]:
    height, width = pixels.shape[1:3]
    return height, width


def no_images() -> ArrayImages:
    """Return the validation images of a dataset that has none."""
    return ArrayImages(np.empty((0, 1, 1, 3), np.uint8), np.empty(0, np.int64), ())
