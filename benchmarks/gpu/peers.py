"""How fast the peers train MoCo v2 on a device: the published code, and lightly's parts."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import Any, Final

from benchmarks.gpu.context import Context, SkippedError
from benchmarks.published import PeerMissingError, checkout, find
from benchmarks.rounds import Contender, interleave, python
from benchmarks.workers import moco_common as common
from benchmarks.workers.moco_peer import Use, write_files

#: By case of :data:`benchmarks.gpu.speed.CASES`, the case of the workers.
CASES: Final[Mapping[str, str]] = {"rn18-32": "gpu-rn18-32", "rn18-224": "gpu-rn18-224"}
TINY: Final = "tiny"

PEERS: Final = ("published", "lightly")
FLAGS: Final[Mapping[str, str]] = {"none": "as shipped", "free": "bf16, channels-last"}


def pairs(context: Context, peer: str, case: str, sections: int) -> dict[str, Any]:
    """Measure a peer: its own views, model and training loop; it reads JPEG files.

    Args:
        context: What the unit is given.
        peer: Name in :data:`PEERS`.
        case: Network and size.
        sections: How many timed sections count.

    Returns:
        Pairs a second of each section, as shipped, and with bfloat16 and channels-last.

    Raises:
        SkippedError: If the peer is not on this machine.
    """
    module, variables = _process(context, peer)
    name = TINY if context.tiny else CASES[case]
    chosen = common.CASES[name]
    write_files(context.out, chosen.side, chosen.peer_steps * chosen.batch)
    workers = 0 if context.tiny else len(os.sched_getaffinity(0))
    contenders = [
        Contender(
            shown,
            python(module, str(context.out), name, str(chosen.peer_steps), str(use)),
            env=variables,
        )
        for flags, shown in FLAGS.items()
        for use in [Use(flags, 1, workers)]
    ]
    found = interleave(contenders, sections, repeats=0)
    return {
        "pairs_per_s": {shown: found.of[shown].rates for shown in FLAGS.values()},
        "batch": chosen.batch,
        "workers": workers,
    }


def _process(context: Context, peer: str) -> tuple[str, dict[str, str]]:
    """Return the module of a peer's process and the environment variables of it."""
    variables = {"BACKBENCH_DEVICE": context.device}
    if context.is_gpu and ":" in context.device:  # the published code takes the first GPU it sees
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        number = int(context.device.partition(":")[2])
        chosen = visible.split(",")[number] if visible else str(number)
        variables = {"BACKBENCH_DEVICE": "cuda:0", "CUDA_VISIBLE_DEVICES": chosen}
    if peer == "lightly":
        if not importlib.util.find_spec("lightly"):
            raise SkippedError("lightly is not installed: pip install --group bench")
        return "benchmarks.workers.moco_lightly", variables
    shims = ["plots"] if context.is_gpu else ["cuda", "gloo", "plots"]
    try:
        copy = checkout(find(None), context.out, shims)
    except PeerMissingError as error:
        raise SkippedError(str(error)) from None
    return "benchmarks.workers.moco_published", copy.environment("moco", **variables)
