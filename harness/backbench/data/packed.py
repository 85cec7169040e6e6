"""Decoded images in one safetensors file, memory-mapped.

Images of one size are a tensor ``pixels`` (N, H, W, 3). Of images of many sizes ``pixels`` is
flat: one after another, row by row; ``sizes`` (N, 2) has their heights and widths. After them
come ``labels`` or ``indices`` (N,), which are read and not mapped: a defense or an evaluator that
receives images must not find the classes or the poisoned images in the memory behind them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from backbench.data.tensors import MappedTensors, header
from backbench.errors import StoreError
from backbench.images import ArrayImages, ImageSet, Labels, Pixels

#: Offset of the pixels in a file that we write: room for every header.
HEADER_BYTES: Final = 512
#: Mapped pages are given back to the system after so many bytes of images; they stay in its
#: own cache as long as there is room, and reading on costs only their mapping.
_RELEASE_BYTES: Final = 256 << 20
#: Of images of one size, which are small, after fewer; a read maps its neighborhood too.
_RELEASE_UNIFORM_BYTES: Final = 32 << 20
_MAPPED_AT_ONCE: Final = 64 << 10


def around(shape: Sequence[int], **arrays: NDArray[np.int64]) -> tuple[bytes, bytes]:
    """Return the bytes of a file before pixels of a shape, and those of the arrays after them."""
    shapes = {name: (np.int64, array.shape) for name, array in arrays.items()}
    head, _, _ = header({"pixels": (np.uint8, shape), **shapes}, HEADER_BYTES)
    return head, b"".join(array.astype("<i8").tobytes() for array in arrays.values())


def offsets_of(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each image of sizes (N, 2) begins in the flat pixels, and the end, (N + 1,)."""
    return np.concatenate([[0], np.cumsum(sizes.prod(axis=1) * 3)]).astype(np.int64)


def shared_size(sizes: NDArray[np.int64]) -> tuple[int, int] | None:
    """Return the height and width that all sizes, (N, 2), share; ``None`` where they differ."""
    if not len(sizes) or (sizes != sizes[0]).any():
        return None
    height, width = sizes[0].tolist()
    return height, width


class MappedArray(ArrayImages):
    """Images of one size, with N stable names, whose pixels are a mapped file."""

    def __init__(self, path: Path, sources: Sequence[str]) -> None:
        mapping = MappedTensors(path, "pixels")
        self._path = path
        self._memory = mapping.memory
        self._passed = 0
        super().__init__(mapping.arrays["pixels"], mapping.arrays["labels"], sources)

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8, read-only."""
        image = super().image(index)
        self.passed(image.nbytes)
        return image

    def passed(self, size: int) -> None:
        """Take note that some bytes have been read; now and then, take pages from our map.

        An image that is still in use stays readable: its pages are mapped again.
        """
        self._passed += max(size, _MAPPED_AT_ONCE)
        if self._passed > _RELEASE_UNIFORM_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._passed = 0
            self._memory.madvise(mmap.MADV_DONTNEED)

    def writable_pixels(self) -> Pixels:
        """Return all images, (N, H, W, 3); of those that are written to, this process's own."""
        pixels: Pixels = MappedTensors(self._path, "pixels", private=True).arrays["pixels"]
        return pixels


class _FlatPixels:
    """Images of many sizes in a mapped file, by place."""

    def __init__(self, path: Path) -> None:
        mapping = MappedTensors(path, "pixels")
        self.arrays = mapping.arrays
        self._sizes: NDArray[np.int64] = self.arrays["sizes"]
        self._offsets = offsets_of(self._sizes)
        self._pixels = self.arrays["pixels"]
        if self._offsets[-1] != len(self._pixels):
            raise StoreError(f"{path}: damaged (sizes and pixels disagree); run `backbench verify`")
        self._memory, self._start = mapping.memory, mapping.start
        self._given = 0

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that all images share; ``None`` where they differ."""
        return shared_size(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> Pixels:
        start, end = int(self._offsets[index]), int(self._offsets[index + 1])
        self._ahead(start, end)
        image: Pixels = self._pixels[start:end].reshape(*self._sizes[index].tolist(), 3)
        return image

    def _ahead(self, start: int, end: int) -> None:
        """Have the system read an image from the disk; now and then, take pages from our map.

        Threads may both add to the counter and lose a little of it: it is a rough one.
        """
        self._given += end - start
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        if self._given > _RELEASE_BYTES:
            self._given = 0
            self._memory.madvise(mmap.MADV_DONTNEED)
        first = (self._start + start) // mmap.PAGESIZE * mmap.PAGESIZE
        self._memory.madvise(mmap.MADV_WILLNEED, first, self._start + end - first)


class StoredImages(Mapping[int, Pixels]):
    """Some images of a set in a mapped file, by index; none is touched before it is needed."""

    def __init__(self, indices: NDArray[np.int64], images: Pixels | _FlatPixels) -> None:
        self._images = images
        self._places = dict(zip(indices.tolist(), range(len(indices)), strict=True))

    def __getitem__(self, index: int) -> Pixels:
        image: Pixels = self._images[self._places[index]]
        return image

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class MappedImages(ImageSet):
    """Images of many sizes, with N stable names, whose decoded pixels are a mapped file."""

    def __init__(self, path: Path, sources: Sequence[str]) -> None:
        self._flat = _FlatPixels(path)
        labels = self._flat.arrays.get("labels", ())
        if not len(labels) == len(self._flat) == len(sources):
            raise StoreError(
                f"{path}: does not contain the images of its index; run `backbench verify`"
            )
        super().__init__(np.asarray(labels), sources, self._flat.size)

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8, read-only."""
        return self._flat[range(len(self))[index]]


def open_images(path: Path, sources: Sequence[str]) -> MappedArray | MappedImages:
    """Open the decoded images of a split, which have N stable names."""
    if "sizes" in MappedTensors(path, "pixels").arrays:
        return MappedImages(path, sources)
    return MappedArray(path, sources)


def open_changed_images(path: Path) -> StoredImages:
    """Map some images of a set; return them by index."""
    arrays = MappedTensors(path, "pixels").arrays
    images = _FlatPixels(path) if "sizes" in arrays else arrays["pixels"]
    if len(images) != len(arrays["indices"]):
        raise StoreError(f"{path}: images and index differ in number; run `backbench verify`")
    return StoredImages(arrays["indices"], images)


class ImageWriter:
    """Writes images to a file, one after another; holds one of them in memory.

    They come in the order of ``indices``, (N,), and share one size, or each has its own. The file
    is whole at the end of a ``with`` block that raises nothing.
    """

    def __init__(
        self, path: Path, indices: NDArray[np.int64], *, size: tuple[int, int] | None
    ) -> None:
        self._indices = indices
        self._size = size
        self._sizes: list[tuple[int, int]] = []
        self._count = 0
        self._file = path.open("wb")
        self._file.seek(HEADER_BYTES)

    def add(self, image: Pixels) -> None:
        """Write the next image, (H, W, 3), uint8."""
        height, width = image.shape[:2]
        if self._size not in {None, (height, width)}:
            raise ValueError(f"an image of {height} x {width} among those of {self._size}")
        if self._size is None:
            self._sizes.append((height, width))
        self._count += 1
        self._file.write(np.ascontiguousarray(image).data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close the file; write the bytes before and after the images, now that they are known."""
        with self._file as file:
            if kind is None:
                head, tail = self._around()
                file.write(tail)
                file.seek(0)
                file.write(head)

    def _around(self) -> tuple[bytes, bytes]:
        indices = {"indices": self._indices}
        if self._size is None:
            sizes = np.array(self._sizes, np.int64).reshape(-1, 2)
            return around((int(offsets_of(sizes)[-1]),), **indices, sizes=sizes)
        return around((self._count, *self._size, 3), **indices)


def write_images(path: Path, pixels: Pixels, labels: Labels) -> None:
    """Write images of one size, (N, H, W, 3), and their labels, (N,)."""
    head, tail = around(pixels.shape, labels=labels)
    with path.open("wb") as file:
        file.write(head)
        file.write(np.ascontiguousarray(pixels).data)
        file.write(tail)
