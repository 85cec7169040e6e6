"""Stored predictions of an evaluation for each image: compressed, and read by the part.

A file of NumPy's, ``numpy.load`` reads it: ``labels``, and of each variant and each sort of images
``clean_predictions`` and ``clean_scores``.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backbench.errors import StoreError
from backbench.images import read_only
from backbench.metrics import Ints, at
from backbench.system.files import open_regular, read_regular

#: File of an evaluation's artifact that holds what was predicted of each image.
PREDICTIONS = "predictions.npz"

#: Bytes up to which a file is read as a whole.
_AT_ONCE: Final = 1 << 18

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
        file = io.BytesIO(content)
        entries = sorted(_entries(file).items())
        return {name: _array(_unpacked(_packed(file, entry))) for name, entry in entries}
    except _UNREADABLE as error:
        raise ValueError(f"its predictions cannot be read: {error}") from error


def read_predictions(file: str | Path | io.BytesIO, variant: str) -> tuple[Ints, Ints, Ints | None]:
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
        with _stream(file) as opened:
            entries = _entries(opened)
            labels, own = (_packed(opened, entries[name]) for name in ("labels", clean))
            others = _packed(opened, entries[triggered]) if triggered in entries else None
        return _labels(labels), _classes(own), None if others is None else _classes(others)
    except _UNREADABLE as error:
        raise _unreadable(file, error) from error


def read_scores(
    file: str | Path | io.BytesIO, variant: str
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Read the scores of one variant.

    Args:
        file: The file, or its content.
        variant: Name of the variant; empty where there is only one.

    Returns:
        Scores of the images without trigger and with it, each (N, classes), read-only; ``None`` for
        the last without an attack.

    Raises:
        StoreError: If the file cannot be read, or holds no scores.
    """
    clean, triggered = (at(f"{name}_scores", variant) for name in ("clean", "triggered"))
    try:
        with _stream(file) as opened:
            entries = _entries(opened)
            own = _packed(opened, entries[clean])
            others = _packed(opened, entries[triggered]) if triggered in entries else None
        return _scores(own), None if others is None else _scores(others)
    except _UNREADABLE as error:
        raise _unreadable(file, error) from error


def _unreadable(file: str | Path | io.BytesIO, error: Exception) -> StoreError:
    where = "predictions" if isinstance(file, io.BytesIO) else file
    return StoreError(f"{where}: cannot be read: {error}")


class _Packed(NamedTuple):
    """One array of a file, still compressed, and what it comes to."""

    name: str
    content: bytes
    compressed: bool
    size: int
    crc: int


def _entries(file: BinaryIO) -> dict[str, zipfile.ZipInfo]:
    """Return where each array lies in a file, by its name."""
    with zipfile.ZipFile(file) as archive:
        entries = {one.filename.removesuffix(".npy"): one for one in archive.infolist()}
    if any(one.compress_type not in _COMPRESSED for one in entries.values()):
        raise ValueError("compressed in another way than NumPy does")
    return entries


def _stream(file: str | Path | io.BytesIO) -> AbstractContextManager[BinaryIO]:
    """Return a file to read parts of, a small one from memory: system calls take longer."""
    if isinstance(file, io.BytesIO):
        return nullcontext(file)
    if os.stat(file).st_size <= _AT_ONCE:  # noqa: PTH116 - thrice as fast, ten thousand times
        return io.BytesIO(read_regular(file, _AT_ONCE))
    return open_regular(file)


def _packed(file: BinaryIO, entry: zipfile.ZipInfo) -> _Packed:
    """Read one entry; ``ZipFile.read`` takes three times as long for as little as a class list.

    Source: the ZIP format: at its end, an entry's header of 30 bytes has the lengths of the name
        and of the rest before the content.
    """
    file.seek(entry.header_offset)
    head = file.read(30)
    skipped = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    file.seek(skipped, io.SEEK_CUR)
    content = file.read(entry.compress_size)
    compressed = entry.compress_type == zipfile.ZIP_DEFLATED
    return _Packed(entry.filename, content, compressed, entry.file_size, entry.CRC)


def _unpacked(packed: _Packed) -> bytes:
    content = packed.content
    if packed.compressed:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, packed.size + 1)
    if len(content) != packed.size or zlib.crc32(content) != packed.crc:
        raise ValueError(f"{packed.name} is damaged")
    return content


def _classes(packed: _Packed) -> Ints:
    """Return classes of images, (N,), read-only."""
    return read_only(_array(_unpacked(packed)).astype(np.int64))


def _scores(packed: _Packed) -> NDArray[np.float32]:
    """Return scores of images, (N, classes), read-only."""
    return read_only(_array(_unpacked(packed)).astype(np.float32))


#: The evaluations of a dataset have the same labels: these are unpacked once.
_labels = lru_cache(maxsize=4)(_classes)


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
