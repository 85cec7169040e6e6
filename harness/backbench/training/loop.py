"""The one training loop: every SSL method goes through it, and every defense that trains."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from backbench.errors import StageError
from backbench.images import ImageSet
from backbench.nn.batch import Batch
from backbench.nn.encoder import Encoder
from backbench.nn.method import Progress, SSLMethod, TrainingContext, TrainingTask
from backbench.nn.ranks import ALONE, Ranks
from backbench.options.training import SSLOptions, TrainingOptions
from backbench.plugin.checkpoint import CheckpointFile
from backbench.seeds import derive
from backbench.training.checkpoint import Checkpoints, Trained
from backbench.training.device import autocast, resolve_precision, to_device
from backbench.training.distributed import averaging
from backbench.training.monitor import Monitor, Trigger, knn_epochs
from backbench.training.optimizers import build_optimizer
from backbench.training.sanity import ROUNDING, is_constant
from backbench.views.batches import Source, open_source

ProgressCall = Callable[[int, int, Mapping[str, float]], None]
History = list[dict[str, float]]
Task = TypeVar("Task", bound=TrainingTask)

#: Seconds between two calls of ``progress`` within an epoch.
PROGRESS_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """All that a training needs besides the network that it trains.

    Args:
        options: Epochs, batch size, optimizer, schedule, precision.
        images: The training set. The k-NN monitor alone reads its labels.
        seed: Seed of the weights, the order of the images and their views.
        device: Name of the torch device.
        progress: Called with (steps done, steps in all, values) now and then, with the epoch's
            values after each epoch, and with how many epochs were done before (``resumed``)
            where a checkpoint is taken up.
        image_size: Side in pixels of views and of evaluated images; ``None``: as the options and
            the images have it.
        trigger: Trigger of the poison, for the monitor alone.
        checkpoint: File in which the state is kept at the end of an epoch, at most every
            ``options.checkpoint_minutes``, and from which the same training resumes; ``None``:
            nowhere.
        ranks: The processes that train together; only the first of them monitors, reports and
            keeps the state.
    """

    options: TrainingOptions
    images: ImageSet
    seed: int
    device: str
    progress: ProgressCall = lambda *_: None
    image_size: int | None = None
    trigger: Trigger | None = None
    checkpoint: CheckpointFile | None = None
    ranks: Ranks = ALONE

    @property
    def side(self) -> int:
        """Side in pixels of views and of evaluated images."""
        return self.image_size or self.options.view_side(self.images.size)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return self.options.steps_per_epoch(len(self.images))

    @property
    def steps(self) -> int:
        """Number of batches in all epochs."""
        return self.options.epochs * self.steps_per_epoch

    def context(self) -> TrainingContext:
        """Return the context of the task that is trained."""
        return TrainingContext(
            images=len(self.images),
            image_size=self.side,
            steps_per_epoch=self.steps_per_epoch,
            seed=derive(self.seed, "task"),
            ranks=self.ranks,
        )

    def batches(self, source: Source, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        count, options = len(self.images), self.options
        order = epoch_order(count, self.seed, epoch)[: options.epoch_images(count)]
        seed = derive(self.seed, "views")
        return source.batches(order, options.batch_size, epoch=epoch, seed=seed, ranks=self.ranks)

    def checkpoints(self, task: TrainingTask) -> Checkpoints:
        """Return the checkpoints of this training of a task."""
        identity = {
            "task": f"{type(task).__module__}.{type(task).__qualname__}",
            "options": self.options.identity(),
            "precision": resolve_precision(self.options.precision, torch.device(self.device)),
            "seed": self.seed,
            "images": len(self.images),
            "image_size": self.side,
        }
        return Checkpoints(self.checkpoint, identity, self.options.checkpoint_minutes)


def pretrain(
    method_class: type[SSLMethod],
    run: TrainingRun,
    guard: Callable[[SSLMethod], SSLMethod] | None = None,
) -> tuple[Encoder, History]:
    """Train a fresh encoder with an SSL method.

    Args:
        method_class: The method.
        run: All else that the training needs.
        guard: Makes of the method what is trained in its place; ``None``: the method itself.

    Returns:
        The encoder, in evaluation mode, on the CPU; and one record an epoch: ``epoch``, ``loss``,
        ``lr``, ``feature_spread``, ``effective_rank`` and, now and then, ``knn_accuracy`` and,
        with a trigger, ``knn_accuracy_triggered`` and ``knn_asr``.

    Raises:
        StageError: See :func:`train`; and if no weight of the encoder has moved.
    """
    options = cast("SSLOptions", run.options)
    start: list[Tensor] = []

    def build(context: TrainingContext) -> SSLMethod:
        method = method_class(options, context)
        start.extend(one.detach().clone() for one in method.encoder.parameters())
        return guard(method) if guard else method

    task, history = train(build, run)
    encoder = task.encoder.cpu().eval()
    if history and all(map(torch.equal, start, encoder.parameters())):
        raise StageError(
            f"{options.epochs} epochs have moved no weight of the encoder: the loss of "
            f"{method_class.__name__} must depend on its encoder"
        )
    return encoder, history


def train(build: Callable[[TrainingContext], Task], run: TrainingRun) -> tuple[Task, History]:
    """Build a task and train it.

    ``build`` makes the task under torch's global generator, seeded, whose state is the same
    afterwards as before.

    Returns:
        The trained task on its device, and one record an epoch.

    Raises:
        StageError: If the loss is not a number, the encoder has collapsed to a constant, or there
            are too few images.
    """
    options, images = run.options, run.images
    if len(images) < options.batch_size:
        raise StageError(f"{len(images)} images do not fill a batch of {options.batch_size}")
    where = torch.device(run.device)
    precision = resolve_precision(options.precision, where)
    with seeded(derive(run.seed, "training"), where), open_source(images, where) as source:
        task = to_device(build(run.context()), where, channels_last=options.channels_last).train()
        trained = Trained(
            task=task,
            optimizer=build_optimizer(task, options.optimizer),
            scaler=torch.amp.GradScaler(where.type, enabled=precision == "fp16"),
            device=where,
        )
        checkpoints = run.checkpoints(task)
        checkpoints.load(trained)
        _stop_if_reseeded(task, run)
        checked = knn_epochs(options.epochs, options.knn_evaluations)
        monitor = Monitor(images, run.seed, run.device, checked, run.trigger)
        with _compiled(task, enabled=options.compile):
            alone = run.ranks.size == 1
            loss_of = task.training_loss if alone else averaging(task, where)
            if done := len(trained.history):
                run.progress(done * run.steps_per_epoch, run.steps, {"resumed": float(done)})
            for epoch in range(done, options.epochs):
                record = train_epoch(trained, run, loss_of, run.batches(source, epoch), epoch)
                _stop_if_reseeded(task, run)
                if not math.isfinite(record["loss"]):
                    raise StageError(
                        f"the loss is {record['loss']} after epoch {epoch + 1} of "
                        f"{options.epochs}: try a learning rate below {options.optimizer.lr}, or "
                        "a longer warm-up"
                    )
                if run.ranks.rank:
                    continue
                with _eager(enabled=options.compile):
                    record |= monitor(task.encoder, epoch)
                _stop_if_collapsed(run, record)
                trained.history.append(record)
                if epoch + 1 < options.epochs:
                    checkpoints.save(trained)
                run.progress((epoch + 1) * run.steps_per_epoch, run.steps, record)
    return task, trained.history


def _stop_if_reseeded(task: TrainingTask, run: TrainingRun) -> None:
    """Stop if a plugin has seeded torch's generator, so that all seeds draw the same numbers."""
    if torch.initial_seed() != derive(run.seed, "training"):
        raise StageError(
            f"{type(task).__name__} seeds torch's generator, so that every seed of the benchmark "
            "draws the same: draw from it as it is, or from a torch.Generator of its own"
        )


def train_epoch(
    trained: Trained,
    run: TrainingRun,
    loss_of: Callable[[Any], Tensor],
    batches: Iterator[Batch],
    epoch: int,
) -> dict[str, float]:
    """Train on an epoch's batches, without a host synchronization; return its record.

    The ``loss`` is the mean over images, ``lr`` that of the last step.
    """
    options, ranks, task, device = run.options, run.ranks, trained.task, trained.device
    optimizer, scaler = trained.optimizer, trained.scaler
    total, seen, lr = torch.zeros((), device=device), 0.0, 0.0
    reported = time.monotonic()
    for number, batch in enumerate(batches):
        step = epoch * run.steps_per_epoch + number
        lr = options.learning_rate(step, run.steps_per_epoch)
        for group in optimizer.param_groups:
            group["lr"] = lr
        with torch.no_grad():
            views = task.views(batch)
        with autocast(options.precision, device):
            loss = loss_of(views)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
        share = len(batch) * ranks.size / options.batch_size  # 1 if it is full
        with torch.no_grad():
            task.after_step(Progress(step, epoch, run.steps, options.epochs))
            total += loss.detach() * share
        seen += share
        if time.monotonic() - reported > PROGRESS_INTERVAL_S:
            run.progress(step + 1, run.steps, {})
            reported = time.monotonic()
    if ranks.size > 1:
        dist.all_reduce(total)
    return {"epoch": float(epoch), "loss": float(total) / ranks.size / seen, "lr": lr}


def _stop_if_collapsed(run: TrainingRun, record: Mapping[str, float]) -> None:
    """Stop a training whose features are not finite or, after the warm-up, equal for all images.

    See :mod:`backbench.training.sanity`.
    """
    options, epoch, spread = run.options, int(record["epoch"]), record["feature_spread"]
    when = f"after epoch {epoch + 1} of {options.epochs}"
    if not math.isfinite(spread):
        raise StageError(
            f"the features are not finite {when}, though the loss is: try a learning rate below "
            f"{options.optimizer.lr}, or a longer warm-up"
        )
    warm = epoch * run.steps_per_epoch >= options.schedule.warmup(run.steps_per_epoch)
    judged = warm or epoch + 1 == options.epochs
    if judged and is_constant(spread, len(run.images)):
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
    """Run compiled encoders as they are written: an evaluation would compile them anew."""
    return torch.compiler.set_stance("force_eager") if enabled else nullcontext()


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
