"""The k-NN stage on features at hand; arguments: ``ours``, file; ``published``, its moco/, file.

``search``, file: faiss's searches for the most neighbors alone, on an index that is ready.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from backbench.metrics import confusion_matrix
from benchmarks.worker import serve

KS = (1, 50)
IMAGES = ("clean", "triggered")


def ours(file: Path) -> dict[str, Any]:
    """Fit, ask about clean and triggered images, and count, as the evaluation stage does."""
    from backbench_evaluators.evaluator_options import KNNOptions
    from backbench_evaluators.knn import KNN

    tensors = load_file(file)
    classes = int(tensors["train_labels"].max()) + 1
    knn = KNN(KNNOptions(k=KS), 0)
    knn.fit(tensors["train"], tensors["train_labels"], classes)
    found = {}
    for images in IMAGES:
        scores = knn.predict(tensors[images])
        assert isinstance(scores, dict)
        for k in KS:
            found[f"{images}-{k}"] = scores[f"k={k}"]
            predicted = scores[f"k={k}"].argmax(axis=1)
            confusion = confusion_matrix(tensors["val_labels"], predicted, classes)
            found[f"{images}-{k}-confusion"] = confusion
    return found


def published(code: Path, file: Path) -> Any:
    """Return what calls the published search and vote for each k."""
    os.chdir(code)
    weights = str(file.parent / "knn" / "x")
    sys.argv = ["eval_knn.py", "--weights", weights]
    for one in ("--train_file", "--val_file", "--val_poisoned_file"):
        sys.argv += [one, ""]
    script: Any = importlib.import_module("eval_knn")
    logging.getLogger().setLevel(logging.WARNING)

    def search() -> dict[str, Any]:
        given = {name: torch.from_numpy(one) for name, one in load_file(file).items()}
        labels = given["val_labels"]
        found = {}
        for k in KS:
            with contextlib.redirect_stdout(io.StringIO()):
                _, clean, _, triggered = script.faiss_knn(
                    given["train"], given["train_labels"], given["clean"], labels,
                    given["triggered"], labels, k,
                )  # fmt: skip
            found |= {f"clean-{k}-confusion": clean, f"triggered-{k}-confusion": triggered}
        return found

    return search


def searched(file: Path) -> Any:
    """Return what searches for the neighbors of clean and triggered images, and no more."""
    import faiss

    tensors = load_file(file)
    index = faiss.IndexFlatL2(tensors["train"].shape[1])
    index.add(tensors["train"])

    def search(_: None) -> float:
        for images in IMAGES:
            index.search(tensors[images], max(KS))
        return 1

    return search


def main() -> None:
    """Serve."""
    torch.set_num_threads(1)
    which, *paths = sys.argv[1:]
    file = Path(paths[-1])
    if which == "search":
        serve(lambda: None, searched(file))
        return
    run = published(Path(paths[0]), file) if which == "published" else lambda: ours(file)

    def timed(_: None) -> dict[str, Any]:
        found = run()
        answers = file.with_name(f"{which}.safetensors")
        save_file({name: np.ascontiguousarray(one) for name, one in found.items()}, answers)
        return {"units": 1, "file": str(answers)}

    def prepare() -> None:
        """Run once: imports are not timed, of neither."""
        run()

    serve(prepare, timed)


if __name__ == "__main__":
    main()
