"""What compression gains on a store's predictions and features.

``python benchmarks/compression.py STORE`` prints what docs/reference/store.md says of it.
"""

from __future__ import annotations

import lzma
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from backbench.store.predictions import PREDICTIONS, load_predictions

WAYS: dict[str, Callable[[bytes], bytes]] = {
    "zlib 1": lambda content: zlib.compress(content, 1),
    "zlib 6": lambda content: zlib.compress(content, 6),
    "LZMA": lzma.compress,
}


def shuffled(array: NDArray[np.generic]) -> bytes:
    """Return an array's bytes, the first of every number before the second of every number."""
    return np.ascontiguousarray(array).view(np.uint8).reshape(-1, array.itemsize).T.tobytes()


def main(store: Path) -> None:
    """Print, by kind of array, the share of its bytes that is left, and how fast it was made."""
    arrays: dict[str, list[NDArray[np.generic]]] = {}
    for path in sorted(store.glob("artifacts/*/*")):
        if path.name == PREDICTIONS:
            found = load_predictions(path.read_bytes())
        elif path.name == "features.safetensors":
            found = load_file(path)
        else:
            continue
        for name, array in found.items():
            kind = name.partition("@")[0].rpartition("_")[2]
            kind = "features" if kind in {"train", "val"} else kind
            arrays.setdefault(f"{kind} ({array.dtype})", []).append(array)
    for kind, some in sorted(arrays.items()):
        total = sum(one.nbytes for one in some)
        cells = []
        for name, pack in WAYS.items():
            for form, as_bytes in (("", np.ndarray.tobytes), (", shuffled", shuffled)):
                start = time.process_time()
                left = sum(len(pack(as_bytes(one))) for one in some) / total
                speed = total / 1e6 / max(time.process_time() - start, 1e-9)
                cells.append(f"{name}{form}: {left:.3f} at {speed:.0f} MB/s")
        print(f"{kind}, {len(some)} arrays, {total} bytes: {'; '.join(cells)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
