"""Several processes that train one encoder, and the parts of a batch that batch norm sees apart.

Batch norm uses the statistics of the images that it sees together. On several GPUs these are a
GPU's own images; here they are one of ``norm_groups`` equal parts of the batch, on however many
devices the parts are computed. So the number of devices changes no number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes that train one encoder together, each on its own slice of every batch.

    Args:
        rank: Number of this process, from 0.
        size: How many there are; with more than one, torch's process group has been opened.
    """

    rank: int
    size: int

    def gather(self, tensor: Tensor) -> Tensor:
        """Put the slices of all ranks, (B / size, …) each, together: (B, …), differentiably.

        Going back, the gradient is the sum over the parts of all ranks, of which a rank takes its
        own slice.
        """
        return tensor if self.size == 1 else cast("Tensor", _Gather.apply(tensor, self))

    def own(self, tensor: Tensor) -> Tensor:
        """Return this rank's slice, (B / size, …), of a whole batch's tensor, (B, …)."""
        return tensor[self.span(len(tensor))]

    def span(self, length: int) -> slice:
        """Return where this rank's slice of ``length`` images is."""
        share = length // self.size
        return slice(self.rank * share, (self.rank + 1) * share)


#: One process that trains by itself.
ALONE = Ranks(0, 1)


class _Gather(torch.autograd.Function):
    """All slices, in the order of the ranks."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        tensor = tensor.contiguous()
        slices = [torch.empty_like(tensor) for _ in range(ranks.size)]
        dist.all_gather(slices, tensor)
        return torch.cat(slices)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return ctx.ranks.own(gradient), None


def in_groups(network: Callable[[Tensor], Tensor], tensor: Tensor, groups: int) -> Tensor:
    """Run a network on equal parts of a batch, one after another; return its outputs, (B, …).

    The network's batch norms see each part apart, and the first part alone moves their running
    statistics. ``groups`` divides the batch, (B, …).

    Source: what nn.DataParallel (published BYOL, Jigsaw) and DistributedDataParallel (published
        MoCo) do on so many GPUs: statistics of a GPU's own images, and the running ones of
        GPU 0.
    """
    if groups == 1:
        return network(tensor)
    if len(tensor) % groups:
        raise ValueError(f"{len(tensor)} images are not {groups} equal parts")
    first, *others = tensor.chunk(groups)
    outputs = [network(first)]
    with _still(network):
        outputs += [network(part) for part in others]
    return torch.cat(outputs)


@contextmanager
def _still(network: Any) -> Iterator[None]:
    """Keep the running statistics of a network's batch norms where they are."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    moving = [one for one in modules if isinstance(one, _BatchNorm) and one.training]
    moving = [one for one in moving if one.track_running_stats]
    for norm in moving:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in moving:
            norm.track_running_stats = True
