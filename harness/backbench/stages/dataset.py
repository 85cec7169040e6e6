"""Read a data set once: every picture is decoded, and what is small is kept decoded."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from backbench.errors import DataError
from backbench.plugin import Dataset, Split
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
    for done, split in enumerate(_SPLITS):
        task.progress(done, len(_SPLITS), {})
        images = dataset.load(split, verify=True)
        expected = facts.train if split == "train" else facts.val
        if len(images) != expected:
            raise DataError(f"{split}: {expected} pictures announced, {len(images)} found")
        if images.labels.min() < 0 or images.labels.max() >= len(facts.classes):
            raise DataError(f"{split}: a label is outside [0, {len(facts.classes)})")
        index[split] = {"sources": list(images.sources), "labels": images.labels.tolist()}
        sizes[split] = None
        if images.pixels is not None:
            sizes[split] = images.pixels.shape[1:3]
            save_file(
                {"pixels": np.ascontiguousarray(images.pixels), "labels": images.labels},
                task.folder / f"{split}.safetensors",
            )
    (task.folder / INDEX).write_text(json.dumps(index) + "\n", encoding="utf-8")
    task.progress(len(_SPLITS), len(_SPLITS), {})
    return Outcome(facts={"dataset": asdict(facts), "sizes": sizes})
