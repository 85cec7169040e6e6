"""Check that the file of a classifier fits an evaluator, an encoder and a number of classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from backbench.benchmark.instances import Instance
from backbench.errors import UsageError
from backbench.external.encoder_options import ImportOptions
from backbench.external.importing import import_encoder
from backbench.external.reader import check_safetensors
from backbench.images import ArrayImages, Unlabelled
from backbench.plugin import EvaluationContext, Evaluator, EvaluatorInfo, ImageEvaluator, Scores


def check_classifier(path: Path, evaluator: Instance, options: ImportOptions, classes: int) -> None:
    """Let a classifier score one gray image, before anything is computed.

    Raises:
        UsageError: If it is no classifier of the evaluator, or one of other features or classes.
    """
    check_safetensors(path)
    try:
        scores = _scores(path, evaluator, options, classes)
    except Exception as error:
        raise UsageError(
            f"--classifier {path}: not for {evaluator.path} and this encoder: {error}"
        ) from error
    for table in scores.values() if isinstance(scores, Mapping) else [scores]:
        if table.shape != (1, classes) or not np.isfinite(table).all():
            raise UsageError(
                f"--classifier {path}: it scores {table.shape[-1]} classes, the dataset has "
                f"{classes}, or a score is not finite"
            )


def _scores(path: Path, evaluator: Instance, options: ImportOptions, classes: int) -> Scores:
    import torch
    from safetensors.numpy import load_file

    encoder = import_encoder(options)[0].requires_grad_(requires_grad=False)
    implementation, info = evaluator.registered.implementation(), evaluator.registered.info
    side = options.image_size
    if isinstance(info, EvaluatorInfo) and info.reads == "images":
        context = EvaluationContext(0, "cpu", classes, lambda *_: None)
        on_images: ImageEvaluator = implementation(evaluator.options, context)
        on_images.restore(load_file(path))
        gray = np.full((1, side, side, 3), 127, np.uint8)
        images = Unlabelled(ArrayImages(gray, np.zeros(1, np.int64), ("gray",)))
        return on_images.predict(encoder, images)
    made: Evaluator = implementation(evaluator.options, 0)
    made.restore(load_file(path))
    return made.predict(encoder(torch.full((1, 3, side, side), 0.5)).numpy())
