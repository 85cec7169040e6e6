"""A queue of features, oldest out first."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
