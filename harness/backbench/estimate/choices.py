"""What ``auto`` picks on this machine, told before anything runs. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from backbench.data.files import MEMORY_LIMIT_BYTES
from backbench.estimate.cost import Training

#: What a processor calls products of bfloat16 that are faster than those of float32.
_BF16: Final = {"avx512_bf16", "amx_bf16"}

_PROCESSOR: Final = Path("/proc/cpuinfo")


def has_bf16(described: str) -> bool:
    """Say whether a processor multiplies bfloat16 in hardware.

    Args:
        described: What Linux says of it in ``/proc/cpuinfo``.
    """
    lines = (line.partition(":") for line in described.splitlines())
    flags = [
        set(value.split()) for name, _, value in lines if name.strip() in {"flags", "Features"}
    ]
    return any(one & _BF16 for one in flags)


def choice(training: Training, *, gpu: bool) -> str:
    """Say how a training computes, and where its images are.

    Args:
        training: The stage.
        gpu: Whether this machine may have a GPU; torch alone knows which.
    """
    options = training.options
    precision: str = options.precision
    native = has_bf16(_PROCESSOR.read_text() if _PROCESSOR.exists() else "")
    if precision == "auto":
        found = "bf16 where the GPU has it" if gpu else "bf16" if native else "fp32"
        precision = f"{found} (auto)"
    layout = "channels last" if options.channels_last is not False else "channels first"
    if options.channels_last == "auto":
        own = not gpu and native and precision.startswith("bf16") and _is_resnet(training)
        layout = "oneDNN's layout (auto)" if own and not options.compile else f"{layout} (auto)"
    compiled = "compiled" if options.compile else "not compiled"
    size = training.metadata.size
    resident = size is not None and 3 * size[0] * size[1] * training.images <= MEMORY_LIMIT_BYTES
    where = (
        ("on the GPU" if gpu else "in memory") if resident else "read from files, batch by batch"
    )
    return f"{precision}, {layout}, {compiled}; images {where}"


def _is_resnet(training: Training) -> bool:
    name = training.backbone.name
    return name != "tiny-resnet" and not name.startswith("timm/")


def choices(
    trainings: Mapping[str, Sequence[Training]], *, gpu: bool, cores: int
) -> list[tuple[str, str]]:
    """Return what computes, and how: the workers, then each method, once for each way.

    Args:
        trainings: Those that are to run, by the name of the method.
        gpu: See :func:`choice`.
        cores: Number of the processor's cores.
    """
    workers = "one for each GPU" if gpu else f"{cores}, each 1 thread on a core of its own"
    return [("workers", f"{workers} (`--jobs` and `--device` of run)")] + [
        (name, one)
        for name, of in trainings.items()
        for one in dict.fromkeys(choice(training, gpu=gpu) for training in of)
    ]
