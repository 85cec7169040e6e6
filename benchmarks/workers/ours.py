"""Steps of the harness, with the loop that trains an encoder, for any SSL method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from backbench.images import ArrayImages
from backbench.nn import encoder
from backbench.nn.backbones import Backbone
from backbench.options.training import SSLOptions
from backbench.plugin import SSLMethod
from backbench.system.memory import keep_memory
from backbench.training.checkpoint import Trained
from backbench.training.device import to_device
from backbench.training.loop import TrainingRun, build_optimizer, train_epoch
from backbench.views.batches import Source, reader_pool
from benchmarks.workers import moco_common as common


@dataclass(frozen=True, slots=True)
class Ready:
    """What ``backbench.training.loop.train`` builds.

    Args:
        trained: The method and its optimizer.
        run: Options and images.
        source: Gives batches of the images.
    """

    trained: Trained
    run: TrainingRun
    source: Source

    @property
    def task(self) -> Any:
        """The method."""
        return self.trained.task

    def steps(self, count: int) -> float:
        """Train; give the mean loss."""
        order = np.random.default_rng(0).permutation(common.IMAGES)[: count * common.BATCH]
        batches = self.source.batches(order, common.BATCH, epoch=0, seed=0)
        loss = self.trained.task.training_loss
        return train_epoch(self.trained, self.run, loss, batches, 0)["loss"]


def prepare(name: str, method: type[SSLMethod], options: SSLOptions) -> Ready:
    """Make a method ready on the network and the images of a case; two steps to warm up."""
    keep_memory()  # as every stage does
    case, cpu = common.CASES[name], torch.device("cpu")

    def backbone(_: Any) -> Backbone:
        return Backbone(common.network(case), 8 * case.width)

    encoder.build_backbone = backbone  # of a width that no option names
    pixels = common.pixels(case.side)
    labels = np.full(common.IMAGES, -1)
    run = TrainingRun(options, ArrayImages(pixels, labels, [""] * common.IMAGES), 0, "cpu")
    task = method(options, run.context())
    task = to_device(task, cpu, channels_last=options.channels_last).train()
    trained = Trained(
        task=task,
        optimizer=build_optimizer(task, options.optimizer),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        device=cpu,
    )
    ready = Ready(trained, run, Source(run.images, cpu, reader_pool()))
    ready.steps(2)
    return ready
