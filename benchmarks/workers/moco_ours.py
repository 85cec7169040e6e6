"""MoCo v2 steps of the harness, with the loop that trains an encoder; argument: the case."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch

from backbench.images import ArrayImages
from backbench.nn import encoder
from backbench.nn.backbones import Backbone
from backbench.system.memory import keep_memory
from backbench.training.checkpoint import Trained
from backbench.training.device import to_device
from backbench.training.loop import TrainingRun, build_optimizer, train_epoch
from backbench.views.batches import Source, reader_pool
from backbench_ssl.method_options import MoCoOptions
from backbench_ssl.moco import MoCo
from benchmarks.worker import serve
from benchmarks.workers import moco_common as common


def prepare() -> tuple[Trained, TrainingRun, Source]:
    """Build what ``backbench.training.loop.train`` builds; two steps to warm up."""
    keep_memory()  # as every stage does
    case, cpu = common.CASES[sys.argv[1]], torch.device("cpu")
    options = MoCoOptions.model_validate(
        {"batch_size": common.BATCH, "queue": common.QUEUE, "norm_groups": 1, "epochs": 1000}
    )

    def backbone(_: Any) -> Backbone:
        return Backbone(common.network(case), 8 * case.width)

    encoder.build_backbone = backbone  # of a width that no option names
    pixels = common.pixels(case.side)
    labels = np.full(common.IMAGES, -1)
    run = TrainingRun(options, ArrayImages(pixels, labels, [""] * common.IMAGES), 0, "cpu")
    task = to_device(MoCo(options, run.context()), cpu, channels_last=options.channels_last).train()
    trained = Trained(
        task=task,
        optimizer=build_optimizer(task, options.optimizer),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        device=cpu,
    )
    source = Source(run.images, cpu, reader_pool())
    steps(trained, run, source, 2)
    return trained, run, source


def steps(trained: Trained, run: TrainingRun, source: Source, count: int) -> float:
    """Train; give the mean loss."""
    order = np.random.default_rng(0).permutation(common.IMAGES)[: count * common.BATCH]
    batches = source.batches(order, common.BATCH, epoch=0, seed=0)
    return train_epoch(trained, run, trained.task.training_loss, batches, 0)["loss"]


def timed(ready: tuple[Trained, TrainingRun, Source]) -> dict[str, Any]:
    """Do the steps of a section."""
    case = common.CASES[sys.argv[1]]
    loss = steps(*ready, case.steps)
    task: Any = ready[0].task
    return {
        "units": case.steps * common.BATCH,
        "loss": loss,
        "parameters": common.trained(task.f_q),
        "queue": list(task.queue.features.shape),
    }


serve(prepare, timed)
