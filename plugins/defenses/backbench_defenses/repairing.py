"""Training of a task by a defense that repairs an encoder."""

from __future__ import annotations

from collections.abc import Callable

from backbench.plugin import (
    DefenseContext,
    Encoder,
    ImageSet,
    TrainingContext,
    TrainingOptions,
    TrainingRun,
    TrainingTask,
    train,
)


def repaired(
    build: Callable[[TrainingContext], TrainingTask],
    options: TrainingOptions,
    images: ImageSet,
    encoder: Encoder,
    context: DefenseContext,
) -> Encoder:
    """Train a task on clean images; return its encoder, in evaluation mode, on the CPU.

    Args:
        build: Makes the task.
        options: Options of the training.
        images: The clean images.
        encoder: The encoder that is repaired; images are seen at its size.
        context: Seed, device, progress and checkpoint of the defense.
    """
    run = TrainingRun(
        options,
        images,
        context.seed,
        context.device,
        context.progress,
        image_size=encoder.spec.image_size,
        checkpoint=context.checkpoint,
    )
    task, _ = train(build, run)
    return task.encoder.cpu().eval()
