"""SimCLR or SimSiam steps of the harness; arguments: the method, the case."""

from __future__ import annotations

import sys
from typing import Any

from backbench.options.training import SSLOptions
from backbench.plugin import SSLMethod
from backbench_ssl.method_options import SimCLROptions, SimSiamOptions
from backbench_ssl.simclr import SimCLR
from backbench_ssl.simsiam import SimSiam
from benchmarks.worker import serve
from benchmarks.workers import moco_common as common
from benchmarks.workers import ours

METHODS: dict[str, tuple[type[SSLMethod], type[SSLOptions]]] = {
    "simclr": (SimCLR, SimCLROptions),
    "simsiam": (SimSiam, SimSiamOptions),
}


def prepare() -> ours.Ready:
    """Build the method."""
    method, options = METHODS[sys.argv[1]]
    chosen = options.model_validate({"batch_size": common.BATCH, "epochs": 1000})
    return ours.prepare(sys.argv[2], method, chosen)


def timed(ready: ours.Ready) -> dict[str, Any]:
    """Do the steps of a section."""
    case = common.CASES[sys.argv[2]]
    return {
        "units": case.steps * common.BATCH,
        "loss": ready.steps(case.steps),
        "weights": common.weights(ready.task),
    }


serve(prepare, timed)
