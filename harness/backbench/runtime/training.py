"""The one training loop: every SSL method goes through it, and every defense that trains."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from backbench.errors import StageError
from backbench.images import ImageSet
from backbench.nn.encoder import Encoder
from backbench.nn.method import Progress, SSLMethod, TrainingContext, TrainingTask
from backbench.runtime.device import autocast, place
from backbench.runtime.monitor import Monitor
from backbench.runtime.pictures import open_source
from backbench.runtime.schedule import learning_rate
from backbench.seeds import derive
from backbench.training_options import (
    OptimiserOptions,
    SSLOptions,
    TrainingOptions,
    ViewOptions,
    image_side,
)

ProgressCall = Callable[[int, int, Mapping[str, float]], None]
History = list[dict[str, float]]
Task = TypeVar("Task", bound=TrainingTask)

#: Seconds between two calls of ``progress`` within an epoch.
PROGRESS_INTERVAL_S = 0.5


def pretrain(
    method_class: type[SSLMethod],
    options: SSLOptions,
    images: ImageSet,
    *,
    seed: int,
    device: str,
    progress: ProgressCall,
) -> tuple[Encoder, History]:
    """Train a fresh encoder with an SSL method.

    Args:
        method_class: The method.
        options: Its validated options.
        images: The training set. Labels are used by the k-NN monitor and by nothing else.
        seed: Seed of the weights, the order of the pictures and their views.
        device: Name of the torch device.
        progress: Called with (steps done, steps in all, values) now and then, and with the
            epoch's values after each epoch.

    Returns:
        The encoder, in evaluation mode, on the CPU; and one record an epoch: ``epoch``, ``loss``,
        ``lr``, ``feature_spread`` and, now and then, ``knn_accuracy``.

    Raises:
        StageError: If the loss is not a number, or there are too few pictures.
    """
    views = getattr(options, "views", None)
    wanted = views.size if isinstance(views, ViewOptions) else None
    uniform = None if images.pixels is None else (images.pixels.shape[1], images.pixels.shape[2])

    def build(context: TrainingContext) -> SSLMethod:
        return method_class(options, context)

    task, history = train(
        build,
        options,
        images,
        image_size=image_side(uniform, wanted),
        seed=seed,
        device=device,
        progress=progress,
    )
    return task.encoder.cpu().eval(), history


def train(
    build: Callable[[TrainingContext], Task],
    options: TrainingOptions,
    images: ImageSet,
    *,
    image_size: int,
    seed: int,
    device: str,
    progress: ProgressCall,
) -> tuple[Task, History]:
    """Build a task and train it.

    The state of torch's global generator is the same afterwards as before.

    Args:
        build: Makes the task; torch's global generator has been seeded for it.
        options: Epochs, batch size, optimiser, schedule, precision.
        images: The training set.
        image_size: Side in pixels of views and of evaluated pictures.
        seed: Seed of everything.
        device: Name of the torch device.
        progress: See :func:`pretrain`.

    Returns:
        The trained task on its device, and one record an epoch.

    Raises:
        StageError: If the loss is not a number, or there are too few pictures.
    """
    steps_per_epoch = len(images) // options.batch_size
    if not steps_per_epoch:
        raise StageError(f"{len(images)} pictures do not fill a batch of {options.batch_size}")
    where = torch.device(device)
    with seeded(derive(seed, "training"), where), open_source(images, where) as source:
        task = build(
            TrainingContext(
                images=len(images),
                image_size=image_size,
                steps_per_epoch=steps_per_epoch,
                seed=derive(seed, "task"),
            )
        )
        task = place(task, where).train()
        loop = _Loop(task, options, steps_per_epoch, progress)
        monitor = Monitor(
            images, seed=seed, device=device, checks=options.knn_checks, epochs=options.epochs
        )
        history: History = []
        for epoch in range(options.epochs):
            order = epoch_order(len(images), seed, epoch)
            batches = source.batches(
                order, options.batch_size, epoch=epoch, seed=derive(seed, "views")
            )
            loss = loop.epoch(batches, epoch)
            if not math.isfinite(loss):
                raise StageError(
                    f"the loss is {loss} after epoch {epoch + 1} of {options.epochs}: "
                    f"try a learning rate below {options.optimiser.lr}, or a longer warm-up"
                )
            record = {"epoch": float(epoch), "loss": loss, "lr": loop.lr}
            record |= monitor(task.encoder, epoch)
            history.append(record)
            progress((epoch + 1) * steps_per_epoch, loop.steps, record)
    return task, history


class _Loop:
    """Steps of the optimiser, without a host synchronisation in between."""

    def __init__(
        self,
        task: TrainingTask,
        options: TrainingOptions,
        steps_per_epoch: int,
        progress: ProgressCall,
    ) -> None:
        self._task = task
        self._options = options
        self._steps_per_epoch = steps_per_epoch
        self._progress = progress
        self._optimiser = build_optimiser(task, options.optimiser)
        self.steps = options.epochs * steps_per_epoch
        self.lr = 0.0

    def epoch(self, batches: Iterator[Any], epoch: int) -> float:
        """Train on an epoch's batches and return their mean loss."""
        task, device = self._task, next(self._task.parameters()).device
        total = torch.zeros((), device=device)
        reported = time.monotonic()
        for number, batch in enumerate(batches):
            step = epoch * self._steps_per_epoch + number
            self.lr = learning_rate(self._options, step, self._steps_per_epoch)
            for group in self._optimiser.param_groups:
                group["lr"] = self.lr
            with torch.no_grad():
                views = task.views(batch)
            with autocast(self._options.precision, device):
                loss = task.training_loss(views)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            with torch.no_grad():
                task.after_step(Progress(step, epoch, self.steps, self._options.epochs))
                total += loss.detach()
            if time.monotonic() - reported > PROGRESS_INTERVAL_S:
                self._progress(step + 1, self.steps, {})
                reported = time.monotonic()
        return float(total) / self._steps_per_epoch


def build_optimiser(task: TrainingTask, options: OptimiserOptions) -> torch.optim.Optimizer:
    """Return the optimiser of a task's parameter groups, with one kernel for all tensors."""
    groups = list(task.param_groups())
    if options.name == "adam":
        return torch.optim.Adam(groups, lr=options.lr, fused=True)
    return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum, fused=True)


def epoch_order(images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of the pictures in an epoch, (images,)."""
    return np.random.default_rng(derive(seed, "order", epoch)).permutation(images)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, and give them their state back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
