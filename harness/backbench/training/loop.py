"""The one training loop: every SSL method goes through it, and every defense that trains."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from backbench.errors import StageError
from backbench.images import ImageSet
from backbench.nn.encoder import Encoder
from backbench.nn.method import Progress, SSLMethod, TrainingContext, TrainingTask
from backbench.nn.ranks import ALONE, Ranks
from backbench.options.training import OptimizerOptions, SSLOptions, TrainingOptions
from backbench.seeds import derive
from backbench.training.checkpoint import Checkpoints, Trained
from backbench.training.device import Arithmetic, arithmetic, autocast, to_device
from backbench.training.distributed import averaging
from backbench.training.monitor import Monitor, Trigger
from backbench.training.schedule import learning_rate
from backbench.training.sentinels import ROUNDING, is_constant
from backbench.views.batches import open_source

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
    trigger: Trigger | None = None,
    checkpoint: Path | None = None,
    ranks: Ranks = ALONE,
) -> tuple[Encoder, History]:
    """Train a fresh encoder with an SSL method.

    Args:
        method_class: The method.
        options: Its validated options.
        images: The training set. Labels are used by the k-NN monitor and by nothing else.
        seed: Seed of the weights, the order of the images and their views.
        device: Name of the torch device.
        progress: Called with (steps done, steps in all, values) now and then, with the epoch's
            values after each epoch, and with how many epochs were done before (``resumed``)
            where a checkpoint is taken up.
        trigger: For the monitor alone.
        checkpoint: See :func:`train`.
        ranks: See :func:`train`.

    Returns:
        The encoder, in evaluation mode, on the CPU; and one record an epoch: ``epoch``, ``loss``,
        ``lr``, ``feature_spread``, ``effective_rank`` and, now and then, ``knn_accuracy`` and,
        with a trigger, ``knn_accuracy_triggered`` and ``knn_asr``.

    Raises:
        StageError: If the loss is not a number, the encoder has collapsed to a constant, or there
            are too few images.
    """

    def build(context: TrainingContext) -> SSLMethod:
        return method_class(options, context)

    task, history = train(
        build,
        options,
        images,
        image_size=options.view_side(images.size),
        seed=seed,
        device=device,
        progress=progress,
        trigger=trigger,
        checkpoint=checkpoint,
        ranks=ranks,
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
    trigger: Trigger | None = None,
    checkpoint: Path | None = None,
    ranks: Ranks = ALONE,
) -> tuple[Task, History]:
    """Build a task and train it.

    The state of torch's global generator is the same afterwards as before.

    Args:
        build: Makes the task; torch's global generator has been seeded for it.
        options: Epochs, batch size, optimizer, schedule, precision.
        images: The training set.
        image_size: Side in pixels of views and of evaluated images.
        seed: Seed of everything.
        device: Name of the torch device.
        progress: See :func:`pretrain`.
        trigger: For the monitor alone.
        checkpoint: File in which the state is kept at the end of an epoch, at most every
            ``options.checkpoint_minutes``, and from which the same training goes on; ``None``:
            nowhere.
        ranks: The processes that train together, if this is one of several; only the first
            monitors, reports and keeps the state.

    Returns:
        The trained task on its device, and one record an epoch.

    Raises:
        StageError: If the loss is not a number, the encoder has collapsed to a constant, or there
            are too few images.
    """
    steps_per_epoch = options.steps_per_epoch(len(images))
    if len(images) < options.batch_size:
        raise StageError(f"{len(images)} images do not fill a batch of {options.batch_size}")
    where = torch.device(device)
    how = arithmetic(options, where)
    with seeded(derive(seed, "training"), where), open_source(images, where) as source:
        context = TrainingContext(
            images=len(images),
            image_size=image_size,
            steps_per_epoch=steps_per_epoch,
            seed=derive(seed, "task"),
            ranks=ranks,
        )
        task = to_device(build(context), where, channels_last=how.channels_last).train()
        trained = Trained(
            task=task,
            optimizer=build_optimizer(task, options.optimizer),
            scaler=torch.amp.GradScaler(where.type, enabled=how.precision == "fp16"),
            device=where,
        )
        checkpoints = Checkpoints(
            checkpoint,
            {
                "task": f"{type(task).__module__}.{type(task).__qualname__}",
                "options": options.identity(),
                "seed": seed,
                "images": len(images),
                "image_size": image_size,
            },
            options.checkpoint_minutes,
        )
        checkpoints.load(trained)
        monitor = Monitor(
            images,
            seed=seed,
            device=device,
            checks=options.knn_evaluations,
            epochs=options.epochs,
            trigger=trigger,
        )
        with _compiled(task, enabled=how.compile):
            loop = _Loop(trained, options, how, steps_per_epoch, progress)
            if trained.history:
                done = len(trained.history)
                progress(done * steps_per_epoch, loop.steps, {"resumed": float(done)})
            for epoch in range(len(trained.history), options.epochs):
                order = epoch_order(len(images), seed, epoch)[: options.epoch_images(len(images))]
                batches = source.batches(
                    order,
                    options.batch_size,
                    epoch=epoch,
                    seed=derive(seed, "views"),
                    ranks=ranks,
                )
                loss = loop.epoch(batches, epoch)
                if not math.isfinite(loss):
                    raise StageError(
                        f"the loss is {loss} after epoch {epoch + 1} of {options.epochs}: "
                        f"try a learning rate below {options.optimizer.lr}, or a longer warm-up"
                    )
                record = {"epoch": float(epoch), "loss": loss, "lr": loop.lr}
                if ranks.rank:
                    continue
                with _eager(enabled=how.compile):
                    record |= monitor(task.encoder, epoch)
                _stop_if_collapsed(options, record, len(images), steps_per_epoch)
                trained.history.append(record)
                if epoch + 1 < options.epochs:
                    checkpoints.save(trained)
                progress((epoch + 1) * steps_per_epoch, loop.steps, record)
    return task, trained.history


class _Loop:
    """Steps of the optimizer, without a host synchronization in between."""

    def __init__(
        self,
        trained: Trained,
        options: TrainingOptions,
        how: Arithmetic,
        steps_per_epoch: int,
        progress: ProgressCall,
    ) -> None:
        task = trained.task
        self._task = task
        self._trained = trained
        self._options = options
        self._how = how
        self._steps_per_epoch = steps_per_epoch
        self._progress = progress
        self._ranks = task.context.ranks
        self._loss: Callable[[Any], Tensor] = task.training_loss
        if self._ranks.size > 1:
            self._loss = averaging(task, trained.device)
        self.steps = options.epochs * steps_per_epoch
        self.lr = 0.0

    def epoch(self, batches: Iterator[Any], epoch: int) -> float:
        """Train on an epoch's batches and return their mean loss, over images."""
        task, device = self._task, self._trained.device
        optimizer, scaler = self._trained.optimizer, self._trained.scaler
        total, seen = torch.zeros((), device=device), 0.0
        reported = time.monotonic()
        for number, batch in enumerate(batches):
            step = epoch * self._steps_per_epoch + number
            self.lr = learning_rate(self._options, step, self._steps_per_epoch)
            for group in optimizer.param_groups:
                group["lr"] = self.lr
            with torch.no_grad():
                views = task.views(batch)
            with autocast(self._how.precision, device):
                loss = self._loss(views)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
            share = len(batch) * self._ranks.size / self._options.batch_size  # 1 if it is full
            with torch.no_grad():
                task.after_step(Progress(step, epoch, self.steps, self._options.epochs))
                total += loss.detach() * share
            seen += share
            if time.monotonic() - reported > PROGRESS_INTERVAL_S:
                self._progress(step + 1, self.steps, {})
                reported = time.monotonic()
        if self._ranks.size > 1:
            dist.all_reduce(total)
        return float(total) / self._ranks.size / seen


def _stop_if_collapsed(
    options: TrainingOptions, record: Mapping[str, float], images: int, steps_per_epoch: int
) -> None:
    """Stop a training of which nothing can come; see :mod:`backbench.training.sentinels`.

    Raises:
        StageError: If features are not finite or, after the warm-up, equal for all images.
    """
    epoch, spread = int(record["epoch"]), record["feature_spread"]
    when = f"after epoch {epoch + 1} of {options.epochs}"
    if not math.isfinite(spread):
        raise StageError(
            f"the features are not finite {when}, though the loss is: try a learning rate below "
            f"{options.optimizer.lr}, or a longer warm-up"
        )
    schedule = options.schedule
    warm = schedule.warmup_steps + schedule.warmup_epochs * steps_per_epoch
    judged = epoch * steps_per_epoch >= warm or epoch + 1 == options.epochs
    if judged and is_constant(spread, images):
        raise StageError(
            f"the encoder has collapsed: {when} the features of all images are equal but for "
            f"rounding (feature spread {spread:.2g}, and rounding alone gives up to {ROUNDING:.2g})"
            f": try a learning rate below {options.optimizer.lr}, and change what keeps the method "
            "from collapsing (queue, predictor, momentum, batch size)"
        )


@contextmanager
def _compiled(task: TrainingTask, *, enabled: bool) -> Iterator[None]:
    """Compile the task's encoders for as long as it is trained."""
    if not enabled:
        yield
        return
    from torch._dynamo import config  # slow to import

    encoders = [one for one in task.modules() if isinstance(one, Encoder)]
    for encoder in encoders:
        encoder.compile()
    try:
        # with and without gradients, each norm group's role, a shorter last batch, each encoder
        with config.patch(recompile_limit=64):
            yield
    finally:
        for encoder in encoders:
            encoder._compiled_call_impl = None  # noqa: SLF001 - torch has no way back
        torch.compiler.reset()  # the next training of this process starts counting anew


def _eager(*, enabled: bool) -> AbstractContextManager[Any]:
    """Leave compiled encoders as they are written: for an evaluation, not to compile them anew."""
    return torch.compiler.set_stance("force_eager") if enabled else nullcontext()


def build_optimizer(task: TrainingTask, options: OptimizerOptions) -> torch.optim.Optimizer:
    """Return the optimizer of a task's parameter groups, with one kernel for all tensors."""
    groups = list(task.param_groups())
    if options.name == "adam":
        return torch.optim.Adam(groups, lr=options.lr, fused=True)
    return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum, fused=True)


def epoch_order(images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of the images in an epoch, (images,)."""
    return np.random.default_rng(derive(seed, "order", epoch)).permutation(images)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, and give them their state back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
