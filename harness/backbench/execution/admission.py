"""Refuse stages that the devices of an executor can never run."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.errors import UsageError
from backbench.model import Stage, StageKind
from backbench.plugin.executor import devices_of


def admit_devices(stages: Iterable[Stage], gpus: int) -> None:
    """Refuse stages that ask for more GPUs than there are, or for fp16 without one.

    Args:
        stages: What is to run.
        gpus: How many there are; 0: they run on processors, which can be shared.

    Raises:
        UsageError: Naming the first such stage.
    """
    for stage in stages:
        if not gpus and _trains_in_fp16(stage):
            raise UsageError(
                f"{stage.label}: precision = 'fp16' needs a GPU: say 'auto', 'bf16' or 'fp32'"
            )
        if gpus and (wanted := devices_of(stage)) > gpus:
            raise UsageError(
                f"{stage.label}: devices = {wanted}, and there are {gpus} GPUs to run on: "
                "ask for fewer, or add --device cpu"
            )


def _trains_in_fp16(stage: Stage) -> bool:
    if stage.kind not in {StageKind.PRETRAIN, StageKind.REPAIR} or stage.plugin is None:
        return False
    return bool(stage.plugin.options.get("precision") == "fp16")
