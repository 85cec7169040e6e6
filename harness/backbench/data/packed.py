"""Decoded pictures in one safetensors file, memory-mapped.

Pictures of one size are a tensor ``pixels`` (N, H, W, 3). Of pictures of many sizes ``pixels`` is
flat: one after another, row by row; ``sizes`` (N, 2) has their heights and widths. Beside them
stand ``labels`` or ``indices`` (N,).
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backbench.errors import StoreError
from backbench.images import ArrayImages, Labels, Pixels

#: Where the tensors of a file that we write begin: room for every header.
HEADER_BYTES: Final = 512
_MOST_HEADER_BYTES: Final = 1 << 20
#: Mapped pages are given back to the system after so many bytes of pictures; they stay in its
#: own cache as long as there is room, and reading on costs only their mapping.
_RELEASE_BYTES: Final = 256 << 20

_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {"I64": np.dtype("<i8"), "U8": np.dtype("u1")}


def header(**shapes: tuple[str, Sequence[int]]) -> bytes:
    """Return the first :data:`HEADER_BYTES` of a safetensors file.

    Args:
        **shapes: Type, ``I64`` or ``U8``, and shape of each tensor, in the file's order.

    Source: the safetensors format: 8 bytes with the header's length, JSON, the tensors.
    """
    entries, end = {}, 0
    for name, (dtype, shape) in shapes.items():
        start, end = end, end + int(np.prod(shape, dtype=np.int64)) * _DTYPES[dtype].itemsize
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    return (HEADER_BYTES - 8).to_bytes(8, "little") + text.ljust(HEADER_BYTES - 8)


def offsets_of(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each picture begins in the flat pixels, and the end, (N + 1,).

    Args:
        sizes: Heights and widths, (N, 2).
    """
    return np.concatenate([[0], np.cumsum(sizes.prod(axis=1) * 3)]).astype(np.int64)


class _Mapping:
    """A mapped safetensors file.

    Args:
        path: The file.
        private: Let what is written to the arrays stay in this process: pages are copied when
            they are first written to, and the file is not changed.
    """

    def __init__(self, path: Path, *, private: bool = False) -> None:
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                entries = json.loads(file.read(min(length, _MOST_HEADER_BYTES)))
                self.memory = mmap.mmap(
                    file.fileno(), 0, access=mmap.ACCESS_COPY if private else mmap.ACCESS_READ
                )
            self.start = 8 + length
            self.arrays = {
                name: self._array(entry)
                for name, entry in entries.items()
                if name != "__metadata__"
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path}: damaged ({error}); check the store: verify") from error
        self.pixels_start = self.start + entries["pixels"]["data_offsets"][0]

    def _array(self, entry: Mapping[str, Any]) -> NDArray[Any]:
        dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
        count = int(np.prod(shape, dtype=np.int64))
        start = self.start + entry["data_offsets"][0]
        array: NDArray[Any] = np.frombuffer(self.memory, dtype, count, start).reshape(shape)
        return array


class MappedArray(ArrayImages):
    """A uniform image set whose pixels are a mapped file.

    Args:
        path: The file.
        sources: N stable names.
    """

    def __init__(self, path: Path, sources: Sequence[str]) -> None:
        arrays = _Mapping(path).arrays
        self._path = path
        super().__init__(arrays["pixels"], np.array(arrays["labels"]), sources)

    def writable_pixels(self) -> Pixels:
        """Return all pictures, (N, H, W, 3); of those that are written to, this process's own."""
        pixels: Pixels = _Mapping(self._path, private=True).arrays["pixels"]
        return pixels


class _FlatPixels:
    """Pictures of many sizes in a mapped file, by place.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        mapping = _Mapping(path)
        self.arrays = mapping.arrays
        self._sizes: NDArray[np.int64] = np.array(self.arrays["sizes"])
        self._offsets = offsets_of(self._sizes)
        self._pixels = self.arrays["pixels"]
        if self._offsets[-1] != len(self._pixels):
            raise StoreError(f"{path}: damaged (sizes and pixels disagree); check: verify")
        self._memory, self._start = mapping.memory, mapping.pixels_start
        self._given = 0

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, place: int) -> Pixels:
        start, end = int(self._offsets[place]), int(self._offsets[place + 1])
        self._ahead(start, end)
        picture: Pixels = self._pixels[start:end].reshape(*self._sizes[place].tolist(), 3)
        return picture

    def _ahead(self, start: int, end: int) -> None:
        """Have the system read a picture from the disk; now and then, take pages from our map.

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


class FlatPixels(Mapping[int, Pixels]):
    """Some pictures of a set in a mapped file, of many sizes, by index.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._flat = _FlatPixels(path)
        indices = self._flat.arrays["indices"].tolist()
        self._places = {index: place for place, index in enumerate(indices)}

    def __getitem__(self, index: int) -> Pixels:
        return self._flat[self._places[index]]

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class MappedImages:
    """A ragged image set whose decoded pictures are a mapped file.

    Args:
        path: The file.
        sources: N stable names.
    """

    pixels: Pixels | None = None

    def __init__(self, path: Path, sources: Sequence[str]) -> None:
        self._flat = _FlatPixels(path)
        labels = self._flat.arrays.get("labels", ())
        if not len(labels) == len(self._flat) == len(sources):
            raise StoreError(f"{path}: has not the pictures of its index; check the store: verify")
        self.labels: Labels = np.array(labels)
        self.sources = sources

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Pixels:
        """Return one picture, (H, W, 3), uint8, read-only."""
        return self._flat[range(len(self))[index]]


def open_images(path: Path, sources: Sequence[str]) -> MappedArray | MappedImages:
    """Open the decoded pictures of a split.

    Args:
        path: The file.
        sources: N stable names.

    Raises:
        StoreError: If the file is damaged.
    """
    if "sizes" in _Mapping(path).arrays:
        return MappedImages(path, sources)
    return MappedArray(path, sources)


def open_pictures(path: Path) -> FlatPixels | tuple[NDArray[np.int64], Pixels]:
    """Open some pictures of a set.

    Args:
        path: The file.

    Returns:
        The pictures by index, if their sizes differ; else the indices, (M,), and all pictures,
        (M, H, W, 3), mapped.

    Raises:
        StoreError: If the file is damaged.
    """
    arrays = _Mapping(path).arrays
    if "sizes" in arrays:
        return FlatPixels(path)
    return np.array(arrays["indices"]), arrays["pixels"]


class FlatWriter:
    """Writes pictures of many sizes to a file, one after another; holds one of them in memory.

    Args:
        path: The file.
        indices: The numbers that they go by, (N,), in the order in which they will come.
    """

    def __init__(self, path: Path, indices: NDArray[np.int64]) -> None:
        self._indices = indices.astype("<i8")
        self._sizes: list[tuple[int, int]] = []
        self._file = path.open("wb")
        self._file.seek(HEADER_BYTES + self._indices.nbytes * 3)

    def add(self, picture: Pixels) -> None:
        """Write the next picture.

        Args:
            picture: (H, W, 3), uint8.
        """
        height, width = picture.shape[:2]
        self._sizes.append((height, width))
        self._file.write(np.ascontiguousarray(picture).data)

    def close(self) -> None:
        """Write what stands before the pictures, now that it is known."""
        sizes = np.array(self._sizes, "<i8").reshape(-1, 2)
        count, total = len(self._indices), int(offsets_of(sizes)[-1])
        with self._file as file:
            file.seek(0)
            file.write(
                header(
                    indices=("I64", (count,)), sizes=("I64", (count, 2)), pixels=("U8", (total,))
                )
            )
            file.write(self._indices.tobytes())
            file.write(sizes.tobytes())
