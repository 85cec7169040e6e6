"""MoCo v2 steps of the harness; argument: the case."""

from __future__ import annotations

import sys
from typing import Any

from backbench_ssl.method_options import MoCoOptions
from backbench_ssl.moco import MoCo
from benchmarks.worker import serve
from benchmarks.workers import moco_common as common
from benchmarks.workers import ours


def prepare() -> ours.Ready:
    """Build the method."""
    options = MoCoOptions.model_validate(
        {"batch_size": common.BATCH, "queue": common.QUEUE, "norm_groups": 1, "epochs": 1000}
    )
    return ours.prepare(sys.argv[1], MoCo, options)


def timed(ready: ours.Ready) -> dict[str, Any]:
    """Do the steps of a section."""
    case = common.CASES[sys.argv[1]]
    return {
        "units": case.steps * common.BATCH,
        "loss": ready.steps(case.steps),
        "parameters": common.trained(ready.task.f_q),
        "queue": list(ready.task.queue.features.shape),
    }


serve(prepare, timed)
