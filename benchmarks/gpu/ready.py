"""A method ready to be trained step by step on a device, as the training loop does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbench.images import ArrayImages
from backbench.nn.batch import Batch
from backbench.options.training import SSLOptions
from backbench.plugin import SSLMethod
from backbench.plugin.registry import load_registry
from backbench.seeds import derive
from backbench.training.checkpoint import Trained
from backbench.training.device import resolve_precision, to_device
from backbench.training.loop import TrainingRun, seeded, train_epoch
from backbench.training.optimizers import build_optimizer
from backbench.views.batches import Source, reader_pool
from benchmarks.workers.moco_common import pixels

#: A training without a schedule: every step is like any other.
PLAIN: Mapping[str, Any] = {
    "epochs": 1000,
    "norm_groups": 1,
    "knn_evaluations": 1,
    "schedule": {"name": "constant", "milestones": [], "warmup_steps": 0, "warmup_epochs": 0},
}

#: The networks of the measurements.
TINY_RESNET: Mapping[str, Any] = {
    "name": "tiny-resnet",
    "widths": [8, 16],
    "strides": [2, 2],
    "stem_width": 8,
}
RESNET_18: Mapping[str, Any] = {"name": "resnet18"}


def smooth_images(side: int, count: int) -> ArrayImages:
    """Make images, (count, side, side, 3), uint8, without labels; smooth, as photographs are."""
    return ArrayImages(pixels(side, count), np.full(count, -1), [""] * count)


class Ready:
    """A method, its optimizer and a source of batches on a device.

    Args:
        name: Name of the method's plugin.
        given: Its options besides :data:`PLAIN`.
        images: The training set.
        device: Name of the torch device.
        guard: Makes of the method what is trained in its place.
    """

    def __init__(
        self,
        name: str,
        given: Mapping[str, Any],
        images: ArrayImages,
        device: str,
        guard: Callable[[SSLMethod], SSLMethod] = lambda method: method,
    ) -> None:
        registered = load_registry().find("ssl-method", name)
        values = {**registered.info.presets["small"], **PLAIN, **given}
        options: Any = registered.info.options.model_validate(values)
        self.options: SSLOptions = options
        self.device = torch.device(device)
        self.run = TrainingRun(options, images, 0, device)
        with seeded(derive(0, "training"), self.device):
            built: SSLMethod = guard(registered.implementation()(options, self.run.context()))
        self.task = to_device(built, self.device, channels_last=options.channels_last).train()
        precision = resolve_precision(options.precision, self.device)
        self.trained = Trained(
            task=self.task,
            optimizer=build_optimizer(self.task, options.optimizer),
            scaler=torch.amp.GradScaler(self.device.type, enabled=precision == "fp16"),
            device=self.device,
        )
        self.source = Source(images, self.device, reader_pool())

    def batches(self, count: int) -> Iterator[Batch]:
        """Yield so many full batches, the same on every device; the images come again and again."""
        size, images = self.options.batch_size, len(self.run.images)
        rng = np.random.default_rng(0)
        order = np.concatenate([rng.permutation(images) for _ in range(-(-count * size // images))])
        return self.source.batches(order[: count * size], size, epoch=0, seed=0)

    def steps(self, count: int) -> float:
        """Train for so many steps; return the mean loss, for which the host waits once."""
        loss_of = self.task.training_loss
        return train_epoch(self.trained, self.run, loss_of, self.batches(count), 0)["loss"]

    def losses(self, count: int) -> list[float]:
        """Train for so many steps; return the loss of each."""
        loss_of = self.task.training_loss
        return [
            train_epoch(self.trained, self.run, loss_of, iter([batch]), 0)["loss"]
            for batch in self.batches(count)
        ]

    def views(self) -> Any:
        """Return the views of the first batch."""
        with torch.no_grad():
            return self.task.views(next(self.batches(1)))


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Let a GPU multiply float32 with all its bits, as a processor does."""
    matmul: Any = torch.backends.cuda.matmul
    convolution: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = matmul.fp32_precision, convolution.fp32_precision
    matmul.fp32_precision = convolution.fp32_precision = "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision, convolution.fp32_precision = before


def synchronize(device: torch.device | str) -> None:
    """Wait until a GPU has done all that it was given; a processor has."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def tensors(views: Any) -> list[Tensor]:
    """Return the tensors of views, of whatever form, on the processor."""
    from torch.utils._pytree import tree_leaves

    return [one.detach().cpu() for one in tree_leaves(views) if isinstance(one, Tensor)]
