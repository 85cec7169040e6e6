"""MoCo v2 steps with lightly's parts; arguments: scratch folder, case, workers, flags or none."""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms import MoCoV2Transform
from torch import nn

from benchmarks.worker import serve
from benchmarks.workers import moco_common as common
from benchmarks.workers.moco_peer import Free, Pictures, loader


def prepare() -> tuple[Any, ...]:
    """Build a model from lightly's parts; a section to warm up."""
    _, case_name, workers, flags = sys.argv[1:]
    case = common.CASES[case_name]
    width = 8 * case.width
    query = nn.Sequential(common.network(case), MoCoProjectionHead(width, width, common.DIM))
    key = copy.deepcopy(query)
    deactivate_requires_grad(key)
    criterion = NTXentLoss(temperature=0.2, memory_bank_size=(common.QUEUE, common.DIM))
    optimiser = torch.optim.SGD(query.parameters(), 0.06, momentum=0.9, weight_decay=1e-4)
    called = (Free(query), Free(key)) if flags == "free" else (query, key)
    batches = loader(Pictures(case, MoCoV2Transform(input_size=case.side)), int(workers))
    ready = batches, query, key, called, criterion, optimiser
    timed(ready)
    return ready


def timed(ready: tuple[Any, ...]) -> dict[str, Any]:
    """Train on the pictures of a section."""
    batches, query, key, (ask, answer), criterion, optimiser = ready
    loss = torch.zeros(())
    for _, (first, second), _, _ in batches:
        update_momentum(query, key, m=0.999)
        with torch.no_grad():
            keys = answer(second).float()
        loss = criterion(ask(first).float(), keys)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {
        "units": len(batches) * common.BATCH,
        "loss": float(loss.detach()),
        "parameters": common.trained(query),
        "queue": [common.QUEUE, common.DIM],
    }


serve(prepare, timed)
