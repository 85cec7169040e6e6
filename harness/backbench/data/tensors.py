"""safetensors files that need not be in memory: written part by part, read through a map.

Source: the safetensors format: 8 bytes with the header's length, the header as JSON padded with
spaces, the tensors.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from backbench.errors import StoreError
from backbench.system.json_text import from_json, to_json

#: Types as the format names them, in the order in which the format's own writer sorts tensors.
_NAMES: Final[Mapping[np.dtype[Any], str]] = {
    np.dtype("<i8"): "I64",
    np.dtype("<f4"): "F32",
    np.dtype("u1"): "U8",
}
_TYPES: Final = {name: kind for kind, name in _NAMES.items()}
_MOST_HEADER_BYTES: Final = 1 << 20

#: Type and shape of each tensor, by name.
Shapes = Mapping[str, tuple[DTypeLike, Sequence[int]]]


def header(shapes: Shapes, length: int = 0) -> tuple[bytes, dict[str, int], int]:
    """Lay tensors out in a file, in their order, with a header of ``length`` bytes at least.

    Returns:
        The bytes before the tensors; where each of them begins, after that; and where the last
        of them ends.
    """
    entries: dict[str, Any] = {}
    starts: dict[str, int] = {}
    end = 0
    for name, (kind, shape) in shapes.items():
        dtype = np.dtype(kind)
        start, end = end, end + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        span = {"data_offsets": [start, end]}
        entries[name] = {"dtype": _NAMES[dtype], "shape": list(shape), **span}
        starts[name] = start
    text = to_json(entries, separators=(",", ":")).encode()
    text = text.ljust(max(-(-len(text) // 8) * 8, length - 8))
    return len(text).to_bytes(8, "little") + text, starts, end


class TensorFile:
    """A safetensors file whose tensors are written row by row, in any order.

    It has the bytes that ``save_file`` gives for the same tensors: int64, float32 or uint8, by
    name. Rows go to the file, of its full size from the start, at once: memory does not grow.
    """

    def __init__(self, path: Path, shapes: Shapes) -> None:
        order = list(_NAMES)
        tensors = {name: (np.dtype(kind), tuple(shape)) for name, (kind, shape) in shapes.items()}
        names = sorted(tensors, key=lambda name: (order.index(tensors[name][0]), name))
        self._tensors = {name: tensors[name] for name in names}
        head, starts, end = header(self._tensors)
        self._starts = {name: len(head) + start for name, start in starts.items()}
        self._file = path.open("wb")
        self._file.write(head)
        self._file.flush()
        os.truncate(self._file.fileno(), len(head) + end)

    def write(self, name: str, rows: NDArray[Any], first: int = 0) -> None:
        """Write rows of a tensor, the first of them at index ``first``."""
        kind, shape = self._tensors[name]
        fits = rows.shape[1:] == shape[1:] and 0 <= first <= first + len(rows) <= shape[0]
        if rows.dtype != kind or not fits:
            raise ValueError(f"{name}: {rows.dtype} {rows.shape} at {first} of {kind} {shape}")
        width = kind.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        self._file.seek(self._starts[name] + first * width)
        self._file.write(np.ascontiguousarray(rows).data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class MappedTensors:
    """A safetensors file of which one tensor is mapped, and the others are read.

    No memory after the tensor is mapped: ``memory`` is the map, from the beginning of the file, and
    ``start`` is where the tensor begins in it. What is written to a ``private`` one stays in this
    process: pages are copied when they are first written to, and the file is not changed.
    """

    def __init__(self, path: Path, name: str, *, private: bool = False) -> None:
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                entries = from_json(file.read(min(length, _MOST_HEADER_BYTES)))
                entries.pop("__metadata__", None)
                begin = 8 + length
                self.start, end = (begin + offset for offset in entries[name]["data_offsets"])
                access = mmap.ACCESS_COPY if private else mmap.ACCESS_READ
                self.memory = mmap.mmap(file.fileno(), end, access=access)
                self.arrays: dict[str, NDArray[Any]] = {
                    key: self._mapped(entry) if key == name else _read(file, begin, entry)
                    for key, entry in entries.items()
                }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path}: damaged ({error}); run `backbench verify`") from error

    def _mapped(self, entry: Mapping[str, Any]) -> NDArray[Any]:
        count = int(np.prod(entry["shape"], dtype=np.int64))
        flat = np.frombuffer(self.memory, _TYPES[entry["dtype"]], count, self.start)
        return flat.reshape(entry["shape"])


def _read(file: BinaryIO, begin: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    """Read a tensor into memory."""
    dtype, shape = _TYPES[entry["dtype"]], entry["shape"]
    file.seek(begin + entry["data_offsets"][0])
    content = file.read(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    return np.frombuffer(content, dtype).reshape(shape)
