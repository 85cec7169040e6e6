"""Predictions as they are stored: compressed, read by the part, and the older form."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from backbench.errors import StoreError
from backbench.store.predictions import (
    PREDICTIONS,
    load_predictions,
    read_predictions,
    read_scores,
    write_predictions,
)

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(4), 100)
TENSORS = {
    "labels": LABELS,
    "clean_predictions": RNG.integers(0, 4, 400).astype(np.int32),
    "clean_scores": RNG.random((400, 4)).astype(np.float16),
    "triggered_predictions@k=1": RNG.integers(0, 4, 400).astype(np.int32),
    "clean_predictions@k=1": RNG.integers(0, 4, 400).astype(np.int32),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_predictions(tmp_path / PREDICTIONS, TENSORS)
    return tmp_path / PREDICTIONS


def test_what_was_written_is_read(path: Path) -> None:
    found = load_predictions(path.read_bytes())
    assert set(found) == set(TENSORS)
    for name, one in TENSORS.items():
        assert found[name].dtype == one.dtype
        assert np.array_equal(found[name], one)
    labels, clean, triggered = read_predictions(path, "k=1")
    assert np.array_equal(labels, LABELS)
    assert np.array_equal(clean, TENSORS["clean_predictions@k=1"])
    assert triggered is not None
    assert np.array_equal(triggered, TENSORS["triggered_predictions@k=1"])
    assert read_predictions(io.BytesIO(path.read_bytes()), "")[2] is None
    with np.load(path) as plain:  # as anybody would
        assert np.array_equal(plain["clean_scores"], TENSORS["clean_scores"])


def test_a_file_that_is_too_large_to_read_at_once_gives_the_same(tmp_path: Path) -> None:
    scores = RNG.random((400, 2000)).astype(np.float16)
    write_predictions(tmp_path / PREDICTIONS, {**TENSORS, "clean_scores": scores})
    assert (tmp_path / PREDICTIONS).stat().st_size > 1 << 18
    labels, clean, triggered = read_predictions(tmp_path / PREDICTIONS, "")
    assert np.array_equal(labels, LABELS)
    assert np.array_equal(clean, TENSORS["clean_predictions"])
    assert triggered is None


def test_equal_labels_of_two_files_are_one_array_and_cannot_be_changed(
    path: Path, tmp_path: Path
) -> None:
    other = {**TENSORS, "clean_predictions": LABELS.astype(np.int32)}
    write_predictions(tmp_path / "other.npz", other)
    one, two = (read_predictions(file, "")[0] for file in (path, tmp_path / "other.npz"))
    assert one is two
    assert not one.flags.writeable
    write_predictions(tmp_path / "other.npz", {**other, "labels": LABELS[::-1]})
    assert np.array_equal(read_predictions(tmp_path / "other.npz", "")[0], LABELS[::-1])


def test_the_same_predictions_give_the_same_bytes(path: Path, tmp_path: Path) -> None:
    write_predictions(tmp_path / "again.npz", TENSORS)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
    assert path.stat().st_size < 0.6 * sum(one.nbytes for one in TENSORS.values())


def test_scores_are_not_unpacked_for_predictions(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("clean_scores.npy").header_offset
    content[at + 200] ^= 0xFF
    path.write_bytes(content)
    assert len(read_predictions(path, "")[0]) == 400
    with pytest.raises(ValueError, match="cannot be read"):
        load_predictions(bytes(content))


def test_scores_of_a_variant_are_read_in_single_precision(path: Path) -> None:
    for file in (path, str(path), io.BytesIO(path.read_bytes())):
        clean, triggered = read_scores(file, "")
        assert clean.dtype == np.float32
        assert np.array_equal(clean, TENSORS["clean_scores"])
        assert not clean.flags.writeable
        assert triggered is None
    with pytest.raises(StoreError, match=r"predictions\.npz: cannot be read"):
        read_scores(path, "k=1")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StoreError, match=r"predictions\.npz: cannot be read"):
        read_scores(path, "")


def evil(array: np.ndarray | bytes, kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        one = io.BytesIO()
        if isinstance(array, bytes):
            one.write(array)
        else:
            np.lib.format.write_array(one, array, allow_pickle=True)
        archive.writestr("labels.npy", one.getvalue())
    return file.getvalue()


def too_large() -> bytes:
    """Return an array whose head promises more than there is."""
    file = io.BytesIO()
    head = {"descr": "<i8", "fortran_order": False, "shape": (10**15,)}
    np.lib.format.write_array_header_1_0(file, head)
    return file.getvalue() + bytes(64)


HOSTILE_SHAPES = [
    "(" * 9000,
    "(" + "-" * 9000 + "1,)",
    "(-1,)",
    "(1L,)",
    "(" + "9" * 5000 + ",)",
    "[1]",
    "(1,) + (1,)",
]


def described(shape: str, descr: str = "'<i8'") -> bytes:
    """Return an array of a number, whose head has a shape and a type as a stranger writes them."""
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(8)


def test_the_heads_that_numpy_writes_are_read() -> None:
    for array in (
        np.zeros(()),
        np.zeros((2, 0, 3), "f2"),
        np.ones(3, bool),
        np.eye(2, 3, order="F"),
    ):
        read = load_predictions(evil(array))["labels"]
        assert read.dtype == array.dtype
        assert np.array_equal(read, array)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"PK",
        evil(np.array([{}])),
        evil(b"\x93NUMPY"),
        evil(b""),
        evil(too_large()),
        *(evil(described(shape)) for shape in HOSTILE_SHAPES),
        evil(described("(1,)", "[('a', '<i8')]")),
        evil(described("(1,)", "'|S0'")),
        evil(described("(1,)", "'<f3'")),
        evil(LABELS, zipfile.ZIP_LZMA),
        evil(LABELS)[:-40],
    ],
)
def test_what_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        load_predictions(content)
    (tmp_path / PREDICTIONS).write_bytes(content)
    with pytest.raises(StoreError, match=r"predictions\.npz: cannot be read"):
        read_predictions(tmp_path / PREDICTIONS, "")
