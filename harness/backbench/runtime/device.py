"""The device to compute on, and the arithmetic it is good at."""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import nn

from backbench.errors import UsageError

Module = TypeVar("Module", bound=nn.Module)


def resolve_device(name: str) -> str:
    """Turn the name that a user gave into a torch device's.

    Args:
        name: ``auto`` (the first GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``.

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


def place(module: Module, device: torch.device) -> Module:
    """Move a module to a device, its convolutions in the layout that is fast there."""
    return module.to(device).to(memory_format=torch.channels_last)


def has_native_bf16(device: torch.device) -> bool:
    """Say whether a device multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) is True for name in ("avx512_bf16", "amx_bf16"))


def autocast(precision: Literal["auto", "bf16", "fp32"], device: torch.device) -> torch.autocast:
    """Return the context in which a network computes.

    Args:
        precision: ``auto`` is bfloat16 where the device has it in hardware.
        device: Where the network is.
    """
    enabled = precision == "bf16" or (precision == "auto" and has_native_bf16(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
