"""Refuse stages that the devices of an executor can never run."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.errors import UsageError
from backbench.model import Stage, StageKind
from backbench.plugin.executor import devices_of


def admit_devices(stages: Iterable[Stage], gpus: int) -> None:
    """Refuse stages that request more GPUs than there are, or for fp16 without a GPU.

    Without GPUs, stages run on processors, which can be shared.
    """
    for stage in stages:
        trains = stage.kind in {StageKind.PRETRAIN, StageKind.REPAIR, StageKind.FIT_DETECTOR}
        options = stage.plugin.options if stage.plugin else {}
        if not gpus and trains and options.get("precision") == "fp16":
            raise UsageError(
                f"{stage.label}: precision = 'fp16' needs a GPU: say 'auto', 'bf16' or 'fp32'"
            )
        if gpus and (wanted := devices_of(stage)) > gpus:
            raise UsageError(
                f"{stage.label}: devices = {wanted}, and there are {gpus} GPUs to run on: "
                "ask for fewer, or add --device cpu"
            )
