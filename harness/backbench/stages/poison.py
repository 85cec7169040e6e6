"""Poison a training set: choose, stamp, and keep only what was changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbench.data.decode import fitted_pixels
from backbench.data.packed import FlatWriter
from backbench.images import Pixels
from backbench.plugin import Attack
from backbench.poisoning import choose, rates, recode, stamp
from backbench.stages.data import POISONED, clean_images, facts_of, training_originals
from backbench.stages.task import Outcome, Task
from backbench.stages.tensors import TensorFile

#: Pictures between two reports of progress.
_EVERY = 500


def run(task: Task) -> Outcome:
    """Write the manifests of both splits and the pixels of the poisoned training pictures.

    Where training pictures are kept smaller than their files are, the trigger is put on the file's
    picture, and that is made smaller.

    Every validation picture gets the trigger; these are described only, and stamped again, from
    their seeds, where they are looked at.
    """
    implementation, options, _ = task.plugin()
    facts = facts_of(task)
    attack: Attack = implementation(options, facts)
    train, fit = training_originals(task)
    val = clean_images(task, "val")
    chosen = choose(attack, train.labels, task.seed)
    total = len(chosen) + len(val)

    pixels = clean_images(task, "train").pixels
    path = task.folder / POISONED
    pictures: FlatWriter | _UniformWriter
    if pixels is None:
        pictures = FlatWriter(path, chosen)
    else:
        pictures = _UniformWriter(path, chosen, pixels.shape[1:])
    with (task.folder / "train.jsonl").open("w", encoding="utf-8") as manifest:
        for done, index in enumerate(chosen.tolist()):
            stamped, mark = stamp(attack, train, index, "train", task.seed)
            manifest.write(mark.line())
            pictures.add(fitted_pixels(recode(attack, stamped), fit))
            if done % _EVERY == 0:
                task.progress(done, total, {})
    pictures.close()
    with (task.folder / "val.jsonl").open("w", encoding="utf-8") as manifest:
        for index in range(len(val)):
            manifest.write(stamp(attack, val, index, "val", task.seed)[1].line())
            if index % _EVERY == 0:
                task.progress(len(chosen) + index, total, {})
    target = attack.target
    found = {
        "target": target,
        "target_name": None if target is None else facts.classes[target],
        **rates(target, chosen, train.labels),
        "classes": len(facts.classes),
    }
    return Outcome(facts=found)


class _UniformWriter:
    """Writes pictures of one size to a file; holds one of them in memory.

    Args:
        path: The file.
        indices: The numbers that they go by, (N,), in the order in which they will come.
        shape: Height, width and 3.
    """

    def __init__(self, path: Path, indices: NDArray[np.int64], shape: Sequence[int]) -> None:
        count = len(indices)
        self._file = TensorFile(
            path, {"indices": (np.int64, (count,)), "pixels": (np.uint8, (count, *shape))}
        )
        self._file.write("indices", indices)
        self._written = 0

    def add(self, picture: Pixels) -> None:
        """Write the next picture, (H, W, 3), uint8."""
        self._file.write("pixels", picture[None], self._written)
        self._written += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()
