"""Train an encoder without labels."""

from __future__ import annotations

import json

from backbench.stages.data import training_images
from backbench.stages.task import Outcome, Task


def run(task: Task) -> Outcome:
    """Write the encoder and the training log."""
    from backbench.nn import SSLMethod, save_encoder
    from backbench.runtime.training import pretrain

    method, options, _ = task.plugin()
    if not issubclass(method, SSLMethod):
        raise TypeError(f"{method.__name__} is not a backbench.nn.SSLMethod")
    images = training_images(task)
    encoder, log = pretrain(
        method, options, images, seed=task.seed, device=task.device, progress=task.progress
    )
    save_encoder(task.folder, encoder)
    with (task.folder / "log.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in log)
    return Outcome(facts={"images": len(images), "last": log[-1] if log else {}})
