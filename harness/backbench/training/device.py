"""The device to compute on, and the arithmetic it is good at."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import torch
from torch import nn

from backbench.errors import UsageError
from backbench.nn import cpu
from backbench.nn.encoder import Encoder
from backbench.options.training import TrainingOptions

Module = TypeVar("Module", bound=nn.Module)
Precision = Literal["auto", "bf16", "fp16", "fp32"]


def resolve_device(name: str) -> str:
    """Return the name of the torch device for ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        UsageError: If there is no such device on this machine.
    """
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind == "cpu" and number in {"", "0"}:
        return "cpu"
    if kind == "cuda" and (number.isdecimal() or not number):
        count = torch.cuda.device_count()
        if int(number or 0) < count:
            return f"cuda:{int(number or 0)}"
        raise UsageError(f"device {name!r}: this machine has {count} CUDA devices that torch sees")
    raise UsageError(f"device {name!r}: say 'auto', 'cpu', 'cuda' or 'cuda:<number>'")


def to_device(
    module: Module, device: torch.device, *, channels_last: cpu.Switch = "auto"
) -> Module:
    """Move a module to a device, its weights and its encoders' maps in the chosen layout."""
    for part in module.modules():
        if isinstance(part, Encoder):
            part.channels_last = channels_last
    return module.to(device).to(memory_format=cpu.memory_format(channels_last))


def arithmetic(
    options: TrainingOptions, device: torch.device, encoder: Encoder, devices: int = 1
) -> dict[str, Any]:
    """Return how an encoder was trained by so many devices, with torch's settings, for a record."""
    precision = resolve_precision(options.precision, device)
    # oneDNN's layout needs bfloat16, and torch.compile does not know it
    low = precision == "bf16" and not options.compile
    backbone = getattr(encoder, "backbone", None) if low else None
    found: dict[str, Any] = {
        "precision": precision,
        "compile": options.compile,
        "layout": cpu.layout_name(backbone, device, options.channels_last),
        "devices": devices,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    if device.type == "cuda":
        found |= {
            "matmul_precision": torch.get_float32_matmul_precision(),
            "cudnn_tf32": torch.backends.cudnn.allow_tf32,
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        }
    return found


def resolve_precision(
    precision: Precision, device: torch.device
) -> Literal["bf16", "fp16", "fp32"]:
    """Turn ``auto`` into bf16 where the device has it in hardware, else into fp32.

    Raises:
        UsageError: If fp16 is wanted on a processor.
    """
    if precision == "fp16" and device.type != "cuda":
        raise UsageError(
            f"precision = 'fp16' needs a GPU, and the device is {device}: "
            "say 'auto', 'bf16' or 'fp32'"
        )
    if precision != "auto":
        return precision
    is_gpu = device.type == "cuda"
    native = torch.cuda.is_bf16_supported(including_emulation=False) if is_gpu else cpu.has_bf16()
    return "bf16" if native else "fp32"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which a network computes."""
    resolved = resolve_precision(precision, device)
    low = torch.float16 if resolved == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=low, enabled=resolved != "fp32")
