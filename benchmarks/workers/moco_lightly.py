"""MoCo v2 with lightly's parts; arguments: see :mod:`benchmarks.workers.moco_peer`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms import MoCoV2Transform
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.workers import moco_common as common
from benchmarks.workers.moco_peer import Free, folder_of, run


def images(scratch: Path, case: common.Case) -> Dataset[Any]:
    """Return its dataset, which reads the files of a folder, with its views."""
    made: Dataset[Any] = LightlyDataset(
        str(folder_of(scratch, case.side)), transform=MoCoV2Transform(input_size=case.side)
    )
    return made


def build(_: Path, case: common.Case, flags: str) -> Callable[[DataLoader[Any]], dict[str, Any]]:
    """Build a model from lightly's parts, and the loop of its documentation."""
    width = 8 * case.width
    query = nn.Sequential(common.network(case), MoCoProjectionHead(width, width, common.DIM))
    query = query.to(common.DEVICE)
    key = copy.deepcopy(query)
    deactivate_requires_grad(key)
    criterion = NTXentLoss(temperature=0.2, memory_bank_size=(case.queue, common.DIM))
    criterion = criterion.to(common.DEVICE)
    optimizer = torch.optim.SGD(query.parameters(), 0.06, momentum=0.9, weight_decay=1e-4)
    ask, answer = (Free(query), Free(key)) if flags == "free" else (query, key)

    def train(batches: DataLoader[Any]) -> dict[str, Any]:
        loss = torch.zeros(())
        for views, _, _ in batches:
            first, second = (one.to(common.DEVICE, non_blocking=True) for one in views)
            update_momentum(query, key, m=0.999)
            with torch.no_grad():
                keys = answer(second).float()
            loss = criterion(ask(first).float(), keys)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {
            "loss": float(loss.detach()),
            "parameters": common.trained(query),
            "queue": [case.queue, common.DIM],
        }

    return train


if __name__ == "__main__":
    run(images, build)
