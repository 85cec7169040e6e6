"""Batches out of an image set: from one resident array, or image by image from disk."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from backbench.images import ImageSet, Pixels
from backbench.nn.batch import Batch, Boxes, Flips, Interpolation
from backbench.nn.parts import send
from backbench.nn.ranks import ALONE, Ranks
from backbench.system.cores import core_count
from backbench.views import taps
from backbench.views.resample import Axis, filter_matrices, resample

_PIL_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class UniformBatch(Batch):
    """Images of one size, (B, H, W, 3), uint8; a crop is two batched products with filters."""

    def __init__(
        self, pixels: Tensor, indices: NDArray[np.int64], *, epoch: int, seed: int
    ) -> None:
        super().__init__(indices, epoch=epoch, seed=seed, device=pixels.device)
        self._size = pixels.shape[1], pixels.shape[2]
        # In the order that resampling reads: (B, 3, W, H) on a processor, else (B, H, 3, W).
        self._by_taps = taps.in_cache(pixels.device)
        ordered = pixels.permute(0, 3, 2, 1) if self._by_taps else pixels.transpose(2, 3)
        self._values = ordered.to(torch.float32, memory_format=torch.contiguous_format)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each image, (B, 2)."""
        return np.tile(np.asarray(self._size, dtype=np.int64), (len(self), 1))

    def _cut(
        self, boxes: Boxes, size: int, interpolation: Interpolation, flip: Flips, *, isolated: bool
    ) -> Tensor:
        top, left, height, width = send(boxes, self.device).unbind(1)
        down = Axis(top, height, self._size[0], size, interpolation, isolated)
        across = Axis(left, width, self._size[1], size, interpolation, isolated)
        limit = 1.0 if interpolation == "bicubic" else None
        mirrored = send(flip, self.device)
        if self._by_taps:
            sparse = taps.filter_taps(across).flipped(mirrored)
            sparse.weights.div_(255)
            return taps.crop_by_taps(self._values, taps.filter_taps(down), sparse, limit=limit)
        rows, columns = filter_matrices(down), filter_matrices(across).div_(255)
        columns = torch.where(mirrored[:, None, None], columns.flip(1), columns)
        return resample(self._values.transpose(1, 2), rows, columns, limit=limit)


class MixedBatch(Batch):
    """Images of a few sizes: a part of the batch for each of them, cut as in :class:`UniformBatch`.

    Args:
        parts: Rows of the batch, (P,), and the images there; each row is in one part.
        indices: Positions of all images in the training set, (B,).
        epoch: Number of the epoch.
        seed: Seed of the random views.
    """

    def __init__(
        self,
        parts: Sequence[tuple[NDArray[np.int64], UniformBatch]],
        indices: NDArray[np.int64],
        *,
        epoch: int,
        seed: int,
    ) -> None:
        super().__init__(indices, epoch=epoch, seed=seed, device=parts[0][1].device)
        self._parts = parts
        self._order = np.argsort(np.concatenate([rows for rows, _ in parts]))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each image, (B, 2)."""
        found: NDArray[np.int64] = np.concatenate([batch.sizes for _, batch in self._parts])
        return found[self._order]

    def _cut(
        self, boxes: Boxes, size: int, interpolation: Interpolation, flip: Flips, *, isolated: bool
    ) -> Tensor:
        found = [
            batch.crop(
                boxes[rows], size, interpolation=interpolation, flip=flip[rows], isolated=isolated
            )
            for rows, batch in self._parts
        ]
        return torch.cat(found)[send(self._order, self.device)]


class RaggedBatch(Batch):
    """B images of many sizes, each (H, W, 3), uint8; crops are Pillow's, in threads of a pool."""

    def __init__(
        self,
        pixels: Sequence[Pixels],
        indices: NDArray[np.int64],
        *,
        epoch: int,
        seed: int,
        device: torch.device,
        pool: ThreadPoolExecutor,
    ) -> None:
        super().__init__(indices, epoch=epoch, seed=seed, device=device)
        self._pixels = pixels
        self._pool = pool

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each image, (B, 2)."""
        return np.asarray([image.shape[:2] for image in self._pixels], dtype=np.int64)

    def _cut(
        self, boxes: Boxes, size: int, interpolation: Interpolation, flip: Flips, *, isolated: bool
    ) -> Tensor:
        def one(position: int) -> Pixels:
            top, left, height, width = (float(value) for value in boxes[position])
            image = self._pixels[position]
            if isolated:
                image = image[int(top) : int(top + height), int(left) : int(left + width)]
                top = left = 0.0
                height, width = image.shape[:2]
            resized = Image.fromarray(image).resize(
                (size, size), _PIL_FILTERS[interpolation], (left, top, left + width, top + height)
            )
            result = np.asarray(resized)
            return result[:, ::-1] if flip[position] else result

        stacked = np.stack(list(self._pool.map(one, range(len(self)))))
        images = send(stacked, self.device).permute(0, 3, 1, 2)
        return images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


class Source:
    """An image set, opened for training: resident on the device, or read in threads of a pool."""

    def __init__(self, images: ImageSet, device: torch.device, pool: ThreadPoolExecutor) -> None:
        self._images, self._device, self._pool = images, device, pool
        stacks = images.stacks
        self._stacks = [as_tensor(stack.pixels).to(device) for stack in stacks]
        # Of each image its stack, and its row in there.
        self._where = np.empty((len(images) if stacks else 0, 2), dtype=np.int64)
        for number, stack in enumerate(stacks):
            self._where[stack.indices, 0] = number
            self._where[stack.indices, 1] = np.arange(len(stack.indices))

    def batches(
        self, order: NDArray[np.int64], size: int, *, epoch: int, seed: int, ranks: Ranks = ALONE
    ) -> Iterator[Batch]:
        """Yield batches of ``size`` images in an order, of each the rank's own slice.

        The last batch is smaller if the images do not fill it; ``seed`` is of the random views.
        """
        whole = (order[start : start + size] for start in range(0, len(order), size))
        chunks = [batch[ranks.span(len(batch))] for batch in whole]
        if self._stacks:
            yield from (self._stored(chosen, epoch, seed) for chosen in chunks)
            return
        ahead = self._read(chunks[0]) if chunks else []  # one batch is in memory, another is read
        for chosen, following in zip_longest(chunks, chunks[1:]):
            pixels = [future.result() for future in ahead]
            ahead = [] if following is None else self._read(following)
            device, pool = self._device, self._pool
            yield RaggedBatch(pixels, chosen, epoch=epoch, seed=seed, device=device, pool=pool)

    def _stored(self, chosen: NDArray[np.int64], epoch: int, seed: int) -> Batch:
        """Return a batch of images in memory."""
        stack, row = self._where[chosen].T

        def part(number: int, rows: NDArray[np.int64]) -> UniformBatch:
            pixels = self._stacks[number][send(row[rows], self._device)]
            return UniformBatch(pixels, chosen[rows], epoch=epoch, seed=seed)

        found = [(np.flatnonzero(stack == number), number) for number in np.unique(stack)]
        if len(found) == 1:
            return part(found[0][1], found[0][0])
        parts = [(rows, part(number, rows)) for rows, number in found]
        return MixedBatch(parts, chosen, epoch=epoch, seed=seed)

    def _read(self, chosen: NDArray[np.int64]) -> list[Future[Pixels]]:
        return [self._pool.submit(self._images.image, int(index)) for index in chosen]


@contextmanager
def open_source(images: ImageSet, device: torch.device) -> Iterator[Source]:
    """Open an image set for training; its threads, if it needs any, end with the context."""
    with reader_pool() as pool:
        try:
            yield Source(images, device, pool)
        finally:
            pool.shutdown(cancel_futures=True)


def reader_pool() -> ThreadPoolExecutor:
    """Return as many threads as this process has cores, to read and resize images."""
    return ThreadPoolExecutor(core_count(), thread_name_prefix="images")


def as_tensor(pixels: Pixels) -> Tensor:
    """Return the same memory as a tensor, which must not be written to."""
    with warnings.catch_warnings():
        # torch warns of arrays that are read-only, as mapped files are.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(pixels)
