"""Parts of methods: averages of weights, queues of features, projection heads; and sending."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def frozen_copy(module: Module) -> Module:
    """Copy a module; the copy's parameters take no gradient."""
    return copy.deepcopy(module).requires_grad_(requires_grad=False)


@torch.no_grad()
def ema_update(average: nn.Module, module: nn.Module, momentum: float) -> None:
    """Move the parameters of an average, a :func:`frozen_copy`, towards a module's.

    ``momentum`` is the share of the average that stays, in [0, 1]. Buffers stay as they are: batch
    norms of the average keep running statistics of their own.
    """
    torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - momentum)


class FeatureQueue(nn.Module):
    """Unit vectors, (length, width), on the model's device; the pointer is on the host.

    It starts with random vectors from torch's global generator. Vectors and pointer are part of
    the state that a checkpoint keeps.
    """

    features: Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        start = nn.functional.normalize(torch.randn(length, width), dim=1)
        self.register_buffer("features", start)
        self._next = 0

    def __len__(self) -> int:
        return len(self.features)

    def get_extra_state(self) -> Tensor:
        """Return where the next vector goes, a scalar."""
        return torch.tensor(self._next)

    def set_extra_state(self, state: Tensor) -> None:
        """Set where the next vector goes."""
        self._next = int(state)

    @torch.no_grad()
    def push(self, features: Tensor) -> None:
        """Put vectors, (B, width), in the place of the oldest.

        Raises:
            ValueError: If they are more than the queue holds.
        """
        length, count = len(self), len(features)
        if count > length:
            raise ValueError(f"{count} vectors do not fit a queue of {length}")
        first = min(count, length - self._next)
        self.features[self._next : self._next + first] = features[:first]
        self.features[: count - first] = features[first:]
        self._next = (self._next + count) % length


def mlp(width_in: int, hidden: int, width_out: int, *, norm: bool = False) -> nn.Sequential:
    """Build Linear → ReLU → Linear, with biases; with ``norm`` BatchNorm before the ReLU.

    It maps (B, width_in) to (B, hidden) to (B, width_out).
    """
    middle: list[nn.Module] = [nn.BatchNorm1d(hidden)] if norm else []
    return nn.Sequential(
        nn.Linear(width_in, hidden), *middle, nn.ReLU(inplace=True), nn.Linear(hidden, width_out)
    )


def send(numbers: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """Copy numbers from the host to a device without waiting for what it still has to do.

    torch's own ``.to`` waits until a GPU has come to the copy, unless ``non_blocking`` is set and
    the numbers are in pinned memory. On a processor the memory stays the same.
    """
    tensor = numbers if isinstance(numbers, Tensor) else torch.from_numpy(numbers)
    if device.type == "cuda":
        return tensor.contiguous().pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
