"""MoCo v2 steps of the published code; arguments: see :mod:`benchmarks.workers.moco_peer`.

Its own training loop, model, dataset, views and losses; the views are as large as the images
instead of 224 pixels.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.backends import cudnn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.workers import moco_common as common
from benchmarks.workers.moco_peer import Free, folder_of, run


def images(scratch: Path, case: common.Case) -> Dataset[Any]:
    """Return its dataset, which reads the files of a list, with its views."""
    loader = import_module("moco.loader")
    views = transforms.Compose([
        transforms.RandomResizedCrop(case.side, scale=(0.2, 1.0)),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(p=0.2),
        transforms.RandomApply([loader.GaussianBlur([0.1, 2.0])], p=0.5),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip
    files: Any = import_module("moco.dataset").FileListDataset
    made: Dataset[Any] = files(
        folder_of(scratch, case.side).with_suffix(".txt"), loader.TwoCropsTransform(views)
    )
    return made


def build(
    scratch: Path, case: common.Case, flags: str
) -> Callable[[DataLoader[Any]], dict[str, Any]]:
    """Build what its ``main_worker`` builds; without a GPU, shims change how."""
    main, builder = import_module("main_moco"), import_module("moco.builder")
    if not torch.distributed.is_initialized():
        alone = torch.distributed.HashStore()
        torch.distributed.init_process_group("nccl", store=alone, rank=0, world_size=1)
    args = argparse.Namespace(
        moco_contr_w=1, moco_align_w=0, moco_unif_w=0, index=0, gpu=0, print_freq=50,
        save_folder=tempfile.mkdtemp(dir=scratch),
    )  # fmt: skip
    model = builder.MoCo(
        lambda num_classes: common.network(case, num_classes),
        common.DIM, case.queue, 0.999, contr_tau=0.2, mlp=True,
    )  # fmt: skip
    cudnn.deterministic = cudnn.benchmark = True
    model.cuda(args.gpu)
    parallel = torch.nn.parallel.DistributedDataParallel(model, device_ids=[args.gpu])
    wrapped = Free(parallel) if flags == "free" else parallel
    optimizer = torch.optim.SGD(model.parameters(), 0.06, momentum=0.9, weight_decay=1e-4)

    def train(batches: DataLoader[Any]) -> dict[str, Any]:
        main.train(batches, wrapped, optimizer, 1, args)
        return {
            "parameters": common.trained(model.encoder_q),
            "queue": list(model.queue.T.shape),
        }

    return train


if __name__ == "__main__":
    run(images, build)
