"""Compute features once an encoder, for every evaluator."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backbench.data.tensors import TensorFile
from backbench.errors import StageError
from backbench.images import ImageSet
from backbench.stages.checks import checked_target
from backbench.stages.inputs import Inputs
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import FeaturesRecord

if TYPE_CHECKING:
    from backbench.nn import Encoder

FILE = "features.safetensors"


@functools.lru_cache(maxsize=1)
def encoder_at(folder: Path, device: str) -> Encoder:
    """Return the encoder of an artifact for evaluation; keep it for the next call.

    Clean images and those of each trigger are stages of their own, often of one worker.
    """
    from backbench.nn import load_encoder
    from backbench.training.extraction import for_evaluation

    return for_evaluation(load_encoder(folder), device)


def run(task: Task) -> Outcome:
    """Write the features of the encoder that the stage reads; see :func:`write`."""
    return write(task, encoder_at(task.input("encoder"), task.device))


def write(task: Task, encoder: Encoder) -> Outcome:
    """Write features of the clean splits or, with a poison, of the triggered images.

    Each batch goes to the file at once: memory does not grow with the number of images.
    """
    import torch

    from backbench.training.device import resolve_precision
    from backbench.training.extraction import extracted

    inputs = Inputs(task)
    target = checked_target(inputs)
    splits: dict[str, ImageSet] = (
        {"val": inputs.triggered}
        if task.has("poison")
        else {"train": inputs.train, "val": inputs.val}
    )
    width = encoder.feature_dim
    shapes = {split: (np.float32, (len(images), width)) for split, images in splits.items()}
    labels = {f"{split}_labels": np.asarray(images.labels) for split, images in splits.items()}
    of_labels = {name: (array.dtype, array.shape) for name, array in labels.items()}
    with TensorFile(task.folder / FILE, {**shapes, **of_labels}) as file:
        for name, array in labels.items():
            file.write(name, array)
        for done, (split, images) in enumerate(splits.items()):
            task.progress(done, len(splits), {})
            try:
                for rows, found in extracted(encoder, images, device=task.device):
                    file.write(split, found, rows.start)
            except StageError as error:
                label = task.record("encoder").label
                raise StageError(f"encoder {label!r}, {split} split: {error}") from error
    metadata = FeaturesRecord(
        classes=len(inputs.metadata.classes),
        precision=resolve_precision("auto", torch.device(task.device)),
        dimensions=width,
        target=target,
    )
    return Outcome(metadata)
