"""What an evaluation has said of each picture, as it is stored: compressed, and read by the part.

A file of NumPy's, ``numpy.load`` reads it: ``labels``, and of each head and each sort of pictures
``clean_predictions`` and ``clean_scores``. Stores made before it have the same in a file that is
not compressed; that one is read too.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbench.errors import StoreError
from backbench.metrics import Ints, at
from backbench.records import Record

#: File of an evaluation's artifact that holds what was predicted of each picture.
PREDICTIONS = "predictions.npz"

#: Its name in older stores.
OLDER = "predictions.safetensors"

_SUFFIX = ".npy"


def file_of(record: Record) -> str:
    """Return the name of the file that holds an evaluation's predictions."""
    return OLDER if OLDER in record.files else PREDICTIONS


def write_predictions(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write labels, predictions and scores; the same ones give the same bytes."""
    np.savez_compressed(path, allow_pickle=False, **dict(tensors))


def load_predictions(content: bytes) -> dict[str, NDArray[Any]]:
    """Read a whole file of predictions, in either form.

    Args:
        content: The file.

    Raises:
        ValueError: If it is neither.
    """
    try:
        names, one = _opened(io.BytesIO(content))
        return {name: one(name) for name in sorted(names)}
    except Exception as error:
        if not _unreadable(error):
            raise
        raise ValueError(f"its predictions cannot be read: {error}") from error


def read_predictions(file: Path | io.BytesIO, head: str) -> tuple[Ints, Ints, Ints | None]:
    """Read the predictions of one head; the scores beside them are not unpacked.

    Args:
        file: The file, or its content.
        head: Name of the head; empty where there is only one.

    Returns:
        True classes, predictions without trigger and with it, each (N,); ``None`` for the last
        without an attack.

    Raises:
        StoreError: If the file cannot be read.
    """
    clean, triggered = (at(f"{name}_predictions", head) for name in ("clean", "triggered"))
    try:
        names, one = _opened(file)
        found = [one(name).astype(np.int64) for name in ("labels", clean)]
        return found[0], found[1], one(triggered).astype(np.int64) if triggered in names else None
    except Exception as error:
        if not _unreadable(error):
            raise
        where = file if isinstance(file, Path) else "predictions"
        raise StoreError(f"{where}: cannot be read: {error}") from error


def _unreadable(error: Exception) -> bool:
    """Say whether an error is the file's and not ours."""
    from safetensors import SafetensorError  # late: only where numbers are asked

    kinds = (OSError, KeyError, ValueError, SyntaxError, zipfile.BadZipFile, zlib.error)
    return isinstance(error, (*kinds, EOFError, NotImplementedError, SafetensorError))


def _opened(
    file: Path | io.BytesIO,
) -> tuple[frozenset[str], Callable[[str], NDArray[Any]]]:
    """Return the names in a file, and what reads the array of a name."""
    if not zipfile.is_zipfile(file):
        return _older(file)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    sizes = {one.filename: one.file_size for one in entries}
    if any(one.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for one in entries):
        raise ValueError("compressed in another way than NumPy does")

    def read(name: str) -> NDArray[Any]:
        with zipfile.ZipFile(file) as archive, archive.open(name + _SUFFIX) as one:
            said = sizes[name + _SUFFIX]
            return _array(one.read(said + 1))

    return frozenset(name.removesuffix(_SUFFIX) for name in sizes), read


def _array(content: bytes) -> NDArray[Any]:
    """Read an array that may be a stranger's: nothing is made that is larger than its bytes."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array of another version")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    flat: NDArray[Any] = np.frombuffer(content, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _older(
    file: Path | io.BytesIO,
) -> tuple[frozenset[str], Callable[[str], NDArray[Any]]]:
    from safetensors import safe_open
    from safetensors.numpy import load

    if isinstance(file, io.BytesIO):
        tensors = load(file.getvalue())
        return frozenset(tensors), tensors.__getitem__
    with safe_open(file, framework="numpy") as opened:
        names = frozenset(opened.keys())

    def read(name: str) -> NDArray[Any]:
        with safe_open(file, framework="numpy") as opened:
            found: NDArray[Any] = opened.get_tensor(name)
            return found

    return names, read
