"""Stored predictions of an evaluation for each image: compressed, and read by the part.

A file of NumPy's, ``numpy.load`` reads it: ``labels``, and of each variant and each sort of images
``clean_predictions`` and ``clean_scores``.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from backbench.errors import StoreError
from backbench.images import read_only
from backbench.metrics import Ints, at

#: File of an evaluation's artifact that holds what was predicted of each image.
PREDICTIONS = "predictions.npz"

#: Errors of reading that are the file's and not ours.
_UNREADABLE = (
    OSError,
    KeyError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
)

#: Ways in which a file's content may be compressed.
_COMPRESSED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def write_predictions(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write labels, predictions and scores; equal values give the same bytes."""
    np.savez_compressed(path, allow_pickle=False, **dict(tensors))


def load_predictions(content: bytes) -> dict[str, NDArray[Any]]:
    """Read a whole file of predictions.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        with _opened(io.BytesIO(content)) as (names, one):
            return {name: one(name) for name in sorted(names)}
    except _UNREADABLE as error:
        raise ValueError(f"its predictions cannot be read: {error}") from error


def read_predictions(file: Path | io.BytesIO, variant: str) -> tuple[Ints, Ints, Ints | None]:
    """Read the predictions of one variant; the scores beside them are not unpacked.

    Args:
        file: The file, or its content.
        variant: Name of the variant; empty where there is only one.

    Returns:
        True classes, predictions without trigger and with it, each (N,), read-only; ``None`` for
        the last without an attack.

    Raises:
        StoreError: If the file cannot be read.
    """
    clean, triggered = (at(f"{name}_predictions", variant) for name in ("clean", "triggered"))
    try:
        with _opened(file) as (names, one):
            asked = ("labels", clean, *((triggered,) if triggered in names else ()))
            found = [read_only(one(name).astype(np.int64)) for name in asked]
        return found[0], found[1], found[2] if triggered in names else None
    except _UNREADABLE as error:
        where = file if isinstance(file, Path) else "predictions"
        raise StoreError(f"{where}: cannot be read: {error}") from error


#: Names of the arrays in a file, and what reads the array of a name.
_Arrays = tuple[frozenset[str], Callable[[str], NDArray[Any]]]


@contextmanager
def _opened(file: Path | io.BytesIO) -> Iterator[_Arrays]:
    """Open a file once for all that is read of it."""
    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as opened:
        with zipfile.ZipFile(opened) as archive:
            entries = {one.filename.removesuffix(".npy"): one for one in archive.infolist()}
        if any(one.compress_type not in _COMPRESSED for one in entries.values()):
            raise ValueError("compressed in another way than NumPy does")
        yield frozenset(entries), lambda name: _array(_unpacked(opened, entries[name]))


def _unpacked(file: BinaryIO, entry: zipfile.ZipInfo) -> bytes:
    """Read one entry; ``ZipFile.read`` takes three times as long for as little as a class list.

    Source: the ZIP format: at its end, an entry's header of 30 bytes has the lengths of the name
        and of the rest before the content.
    """
    file.seek(entry.header_offset)
    head = file.read(30)
    skipped = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    file.seek(skipped, io.SEEK_CUR)
    content = file.read(entry.compress_size)
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, entry.file_size + 1)
    if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise ValueError(f"{entry.filename} is damaged")
    return content


def _array(content: bytes) -> NDArray[Any]:
    """Read an array that may be a stranger's: nothing is made that is larger than its bytes."""
    if content[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("an array of another version")
    start = 10 + int.from_bytes(content[8:10], "little")
    shape, is_fortran, dtype = _header(content[10:start])
    flat: NDArray[Any] = np.frombuffer(content, dtype, offset=start)
    return flat.reshape(shape, order="F" if is_fortran else "C")


#: The header of NumPy before an array of numbers. Its own reader evaluates whatever it finds there.
_HEADER = re.compile(
    rb"\{'descr': '([<|](?:f[248]|[iu][1248]|b1))', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,12}, ?)*\d{0,12})\), \} *\n"
)


@lru_cache(maxsize=64)
def _header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read an array's header; thousands of evaluations have the same few."""
    found = _HEADER.fullmatch(content)
    if found is None:
        raise ValueError("an array with another header than NumPy writes for numbers")
    dtype, fortran, shape = (part.decode() for part in found.groups())
    sides = tuple(int(side) for side in shape.split(",") if side.strip())
    return sides, fortran == "True", np.dtype(dtype)
