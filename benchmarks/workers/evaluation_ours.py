"""Features, and an evaluation of them, as the stages of a run; arguments: world, evaluator.

The evaluator ``features`` stops after the clean features. A third argument is the encoder's number.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from backbench.stages import features
from backbench.store.metadata import DatasetRecord
from benchmarks.worker import serve
from benchmarks.world import World, open_world


def evaluate(world: World, evaluator: str, encoder: int = 0) -> dict[str, Any]:
    """Run the stages after the encoder's training.

    Args:
        world: Where.
        evaluator: ``features``, ``linear`` or ``linear-cached``.
        encoder: Its number.

    Returns:
        The number of evaluations, or of images, and the evaluation's numbers.
    """
    features.encoder_at.cache_clear()  # which an earlier round has filled
    if evaluator == "features":
        stage = world.evaluation(encoder, "linear")[0]
        world.run(stage)
        dataset = world.store.record(stage.inputs["dataset"])
        assert dataset is not None
        metadata = dataset.of(DatasetRecord).dataset
        file = world.store.artifact(stage.key) / features.FILE
        return {"units": metadata.train + metadata.val, "file": str(file)}
    *before, last = world.evaluation(encoder, evaluator)
    for stage in before:
        world.run(stage)
    metrics = world.metrics(world.run(last))
    return {"units": 1, "accuracy": metrics["accuracy/clean"], "asr": metrics["asr"]}


def main() -> None:
    """Serve."""
    torch.set_num_threads(1)
    folder, evaluator, *encoder = sys.argv[1:]

    def prepare() -> World:
        world = open_world(Path(folder))
        evaluate(world, evaluator, *map(int, encoder))
        return world

    serve(prepare, lambda world: evaluate(world, evaluator, *map(int, encoder)))


if __name__ == "__main__":
    main()
