"""What an evaluation has said of each picture, as it is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backbench.errors import StoreError
from backbench.metrics import Ints, at

#: File of an evaluation's artifact that holds what was predicted of each picture.
PREDICTIONS = "predictions.safetensors"


def read_predictions(path: Path, head: str) -> tuple[Ints, Ints, Ints | None]:
    """Read the predictions of one head; the scores beside them stay on the disk.

    Args:
        path: The file.
        head: Name of the head; empty where there is only one.

    Returns:
        True classes, predictions without trigger and with it, each (N,); ``None`` for the last
        without an attack.

    Raises:
        StoreError: If the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open  # late: only where numbers are asked

    clean, triggered = (at(f"{name}_predictions", head) for name in ("clean", "triggered"))
    try:
        with safe_open(path, framework="numpy") as file:
            there = set(file.keys())

            def one(name: str) -> Ints:
                found: Ints = file.get_tensor(name).astype(np.int64)
                return found

            return one("labels"), one(clean), one(triggered) if triggered in there else None
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error
