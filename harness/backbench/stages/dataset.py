"""Read a data set once: every picture is decoded, and what is small is kept decoded."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from backbench.errors import DataError
from backbench.images import ImageSet
from backbench.plugin import Dataset, DatasetFacts, Split
from backbench.stages.data import INDEX
from backbench.stages.task import Outcome, Task

_SPLITS: tuple[Split, Split] = ("train", "val")


def run(task: Task) -> Outcome:
    """Verify both splits; store the pixels of those that are uniform and in memory."""
    implementation, options, _ = task.plugin()
    dataset: Dataset = implementation(options)
    facts = dataset.facts()
    index: dict[str, Any] = {"classes": facts.classes}
    sizes: dict[str, Any] = {}
    faults: list[str] = []
    for done, split in enumerate(_SPLITS):
        task.progress(done, len(_SPLITS), {})
        try:
            images = _verified(dataset, split, facts)
        except DataError as error:  # the other split's faults are told as well
            faults.append(str(error))
            continue
        index[split] = {"sources": list(images.sources), "labels": images.labels.tolist()}
        sizes[split] = None
        if images.pixels is not None:
            sizes[split] = images.pixels.shape[1:3]
            save_file(
                {"pixels": np.ascontiguousarray(images.pixels), "labels": images.labels},
                task.folder / f"{split}.safetensors",
            )
    if faults:
        raise DataError("; ".join(faults))
    (task.folder / INDEX).write_text(json.dumps(index) + "\n", encoding="utf-8")
    task.progress(len(_SPLITS), len(_SPLITS), {})
    return Outcome(facts={"dataset": asdict(facts), "sizes": sizes})


def _verified(dataset: Dataset, split: Split, facts: DatasetFacts) -> ImageSet:
    """Read a split, and hold it against what was announced."""
    images = dataset.load(split, verify=True)
    expected = facts.train if split == "train" else facts.val
    if len(images) != expected:
        raise DataError(f"{split}: {expected} pictures announced, {len(images)} found")
    if images.labels.min() < 0 or images.labels.max() >= len(facts.classes):
        raise DataError(f"{split}: a label is outside [0, {len(facts.classes)})")
    return images
