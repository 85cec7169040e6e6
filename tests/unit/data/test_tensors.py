"""A safetensors file that is written row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backbench.data.tensors import TensorFile


def tensors(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "val": rng.random((count, 5), dtype=np.float32),
        "train": rng.random((2 * count, 5), dtype=np.float32),
        "pixels": rng.integers(0, 256, (count, 2, 3, 3), dtype=np.uint8),
        "val_labels": rng.integers(0, 9, count),
        "train_labels": rng.integers(0, 9, 2 * count),
    }


@pytest.mark.parametrize("count", [1, 7, 100])
@pytest.mark.parametrize("length", [1, 3, 4096])
def test_rows_give_the_bytes_of_save_file(tmp_path: Path, count: int, length: int) -> None:
    wanted = tensors(count)
    with TensorFile(
        tmp_path / "own", {name: (one.dtype, one.shape) for name, one in wanted.items()}
    ) as file:
        for name, one in wanted.items():
            for first in reversed(range(0, len(one), length)):
                file.write(name, one[first : first + length], first)
    save_file(wanted, tmp_path / "theirs")
    assert (tmp_path / "own").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_rows_not_written_are_zero(tmp_path: Path) -> None:
    with TensorFile(tmp_path / "own", {"a": (np.float32, (3, 2))}) as file:
        file.write("a", np.ones((1, 2), np.float32), 1)
    np.testing.assert_array_equal(load_file(tmp_path / "own")["a"], [[0, 0], [1, 1], [0, 0]])


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        (np.ones((1, 2), np.float64), 0),
        (np.ones((1, 3), np.float32), 0),
        (np.ones((2, 2), np.float32), 2),
        (np.ones((1, 2), np.float32), -1),
    ],
)
def test_rows_that_do_not_belong_there_are_refused(
    tmp_path: Path, rows: np.ndarray, first: int
) -> None:
    with (
        TensorFile(tmp_path / "own", {"a": (np.float32, (3, 2))}) as file,
        pytest.raises(ValueError, match="a: "),
    ):
        file.write("a", rows, first)
