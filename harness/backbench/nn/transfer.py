"""From the host to a device."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def send(numbers: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """Copy numbers from the host to a device without waiting for what it still has to do.

    torch's own ``.to`` waits until a GPU has come to the copy, unless ``non_blocking`` is set and
    the numbers are in pinned memory. On a processor the memory stays the same.
    """
    tensor = numbers if isinstance(numbers, Tensor) else torch.from_numpy(numbers)
    if device.type == "cuda":
        return tensor.contiguous().pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
