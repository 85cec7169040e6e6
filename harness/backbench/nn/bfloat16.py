"""What a device can do with bfloat16."""

from __future__ import annotations

import torch


def has_native_bf16(device: torch.device) -> bool:
    """Say whether a device multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) is True for name in ("avx512_bf16", "amx_bf16"))
