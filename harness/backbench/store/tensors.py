"""Write a safetensors file part by part: what is on the disk need not be in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Types as the format names them, in the order in which the format's own writer sorts tensors.
_NAMES: Final = {np.dtype("<i8"): "I64", np.dtype("<f4"): "F32", np.dtype("u1"): "U8"}


class TensorFile:
    """A safetensors file whose tensors are written row by row, in any order.

    It has the bytes that ``save_file`` gives for the same tensors. Rows go to the file at once:
    memory does not grow with their number.

    Args:
        path: The file; it is made at its full size.
        shapes: Type, int64, float32 or uint8, and shape of each tensor, by name.

    Source: the safetensors format: 8 bytes with the header's length, JSON padded to a multiple of
        8, the tensors; wider types first, then by name.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[DTypeLike, Sequence[int]]]) -> None:
        order = list(_NAMES)
        tensors = {name: (np.dtype(kind), tuple(shape)) for name, (kind, shape) in shapes.items()}
        entries: dict[str, Any] = {}
        self._at: dict[str, int] = {}
        self._tensors = tensors
        end = 0
        for name in sorted(tensors, key=lambda name: (order.index(tensors[name][0]), name)):
            kind, shape = tensors[name]
            start, end = end, end + kind.itemsize * int(np.prod(shape, dtype=np.int64))
            entries[name] = {
                "dtype": _NAMES[kind],
                "shape": list(shape),
                "data_offsets": [start, end],
            }
            self._at[name] = start
        text = json.dumps(entries, separators=(",", ":")).encode()
        text = text.ljust(-(-len(text) // 8) * 8)
        self._start = 8 + len(text)
        self._file = path.open("wb")
        self._file.write(len(text).to_bytes(8, "little") + text)
        self._file.flush()
        os.truncate(self._file.fileno(), self._start + end)

    def write(self, name: str, rows: NDArray[Any], first: int = 0) -> None:
        """Write rows of a tensor.

        Args:
            name: Which tensor.
            rows: (n, …), of the tensor's type and shape but for its first dimension.
            first: Their position in the tensor.

        Raises:
            ValueError: If they do not belong there.
        """
        kind, shape = self._tensors[name]
        fits = rows.shape[1:] == shape[1:] and 0 <= first <= first + len(rows) <= shape[0]
        if rows.dtype != kind or not fits:
            raise ValueError(f"{name}: {rows.dtype} {rows.shape} at {first} of {kind} {shape}")
        width = kind.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        self._file.seek(self._start + self._at[name] + first * width)
        self._file.write(np.ascontiguousarray(rows).data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
