"""Queue, averages, heads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from backbench.nn import FeatureQueue, ema_update, frozen_copy, mlp


def rows(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count, dtype=torch.float32)[:, None].expand(-1, 2)


def test_queue_starts_with_unit_vectors():
    queue = FeatureQueue(10, 4)
    assert torch.allclose(queue.features.norm(dim=1), torch.ones(10))


def test_queue_replaces_the_oldest():
    queue = FeatureQueue(6, 2)
    queue.push(rows(0, 4))
    queue.push(rows(4, 4))
    assert queue.features[:, 0].tolist() == [6, 7, 2, 3, 4, 5]
    queue.push(rows(8, 6))
    assert queue.features[:, 0].tolist() == [12, 13, 8, 9, 10, 11]


def test_queue_refuses_more_than_it_holds():
    with pytest.raises(ValueError, match="7 vectors do not fit a queue of 6"):
        FeatureQueue(6, 2).push(rows(0, 7))


def test_average_moves_parameters_only():
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    average = frozen_copy(network)
    before = average[0].weight.clone()
    with torch.no_grad():
        network[0].weight.add_(1)
    network[1].running_mean.add_(1)
    ema_update(average, network, 0.9)
    assert torch.allclose(average[0].weight, before + 0.1)
    assert average[1].running_mean.tolist() == [0, 0, 0]
    assert not any(parameter.requires_grad for parameter in average.parameters())


@pytest.mark.parametrize(("momentum", "expected"), [(1.0, 0.0), (0.0, 1.0)])
def test_average_at_the_ends(momentum: float, expected: float):
    network = nn.Linear(2, 2)
    average = frozen_copy(network)
    start = average.weight.clone()
    with torch.no_grad():
        network.weight.add_(1)
    ema_update(average, network, momentum)
    assert torch.allclose(average.weight, start + expected)


@pytest.mark.parametrize("norm", [False, True])
def test_mlp_is_two_products_with_a_relu_between(norm: bool):
    samples = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    head = mlp(4, 8, 2, norm=norm)
    first, last = head[0], head[-1]
    hidden = samples @ first.weight.T + (0 if first.bias is None else first.bias)
    if norm:
        hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    expected = hidden.clamp(min=0) @ last.weight.T + last.bias
    torch.testing.assert_close(head(samples), expected)
