"""MoCo v2 steps of the published code; arguments: scratch folder, case, workers, flags or none.

Its own training loop, model, views and losses; the pictures are in memory, and the views as large
as they are instead of 224 pixels.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import import_module
from typing import Any

import torch
from torchvision import transforms

from benchmarks.worker import serve
from benchmarks.workers import moco_common as common
from benchmarks.workers.moco_peer import Free, Pictures, loader


def prepare() -> tuple[Any, ...]:
    """Build what its ``main_worker`` builds; two steps to warm up would be a section: one."""
    _, case_name, workers, flags = sys.argv[1:]
    case = common.CASES[case_name]
    main, builder = import_module("main_moco"), import_module("moco.builder")
    blur = import_module("moco.loader")
    torch.distributed.init_process_group("gloo")  # the shim makes it one process
    args = argparse.Namespace(
        moco_contr_w=1, moco_align_w=0, moco_unif_w=0, index=0, gpu=0, print_freq=50,
        save_folder=tempfile.mkdtemp(dir=sys.argv[1]),
    )  # fmt: skip
    model = builder.MoCo(
        lambda num_classes: common.network(case, num_classes),
        common.DIM, common.QUEUE, 0.999, contr_tau=0.2, mlp=True,
    )  # fmt: skip
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    wrapped = Free(parallel) if flags == "free" else parallel
    optimiser = torch.optim.SGD(model.parameters(), 0.06, momentum=0.9, weight_decay=1e-4)
    views = transforms.Compose([
        transforms.RandomResizedCrop(case.side, scale=(0.2, 1.0)),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(p=0.2),
        transforms.RandomApply([blur.GaussianBlur([0.1, 2.0])], p=0.5),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip
    batches = loader(Pictures(case, blur.TwoCropsTransform(views)), int(workers))
    ready = main, batches, wrapped, optimiser, args, model
    timed(ready)
    return ready


def timed(ready: tuple[Any, ...]) -> dict[str, Any]:
    """Train on the pictures of a section."""
    main, batches, wrapped, optimiser, args, model = ready
    main.train(batches, wrapped, optimiser, 1, args)
    return {
        "units": len(batches) * common.BATCH,
        "parameters": common.trained(model.encoder_q),
        "queue": list(model.queue.T.shape),
    }


serve(prepare, timed)
