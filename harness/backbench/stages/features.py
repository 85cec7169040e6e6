"""Compute features once an encoder, for every evaluator."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

from backbench.stages.data import clean_images, facts_of, triggered_images
from backbench.stages.task import Outcome, Task

if TYPE_CHECKING:
    from backbench.nn import Encoder

FILE = "features.safetensors"


@functools.lru_cache(maxsize=1)
def encoder_at(folder: Path, device: str) -> Encoder:
    """Return an encoder for evaluation; the same one while the same is asked for.

    Clean pictures and those of each trigger are stages of their own, often of one worker.

    Args:
        folder: The artifact that holds it.
        device: Name of the torch device.
    """
    from backbench.nn import load_encoder
    from backbench.runtime.features import for_evaluation

    return for_evaluation(load_encoder(folder), device)


def run(task: Task) -> Outcome:
    """Write features of the clean splits or, with a poison, of the triggered pictures."""
    import torch

    from backbench.runtime.device import resolve_precision
    from backbench.runtime.features import extract

    encoder = encoder_at(task.input("encoder"), task.device)
    splits = (
        {"val": triggered_images(task)}
        if task.has("poison")
        else {"train": clean_images(task, "train"), "val": clean_images(task, "val")}
    )
    # A training split that is too large for memory is seen as a validation split that is not.
    uniform = True if facts_of(task).size else None
    tensors = {}
    for done, (split, images) in enumerate(splits.items()):
        task.progress(done, len(splits), {})
        tensors[split] = extract(encoder, images, device=task.device, uniform=uniform)
        tensors[f"{split}_labels"] = np.asarray(images.labels)
    save_file(tensors, task.folder / FILE)
    facts = {
        "classes": len(task.record("dataset").facts["dataset"]["classes"]),
        "precision": resolve_precision("auto", torch.device(task.device)),
    }
    if task.has("poison"):
        facts["target"] = task.record("poison").facts["target"]
    return Outcome(facts=facts | {"dimensions": int(tensors["val"].shape[1])})
