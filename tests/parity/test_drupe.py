"""DRUPE's losses against independent formulas."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from backbench_attacks.drupe import (
    DISTANCE,
    SPREAD,
    Features,
    Weights,
    best_reference,
    directions,
    mean_pair,
    preserving_loss,
    reference_spread,
    sliced_wasserstein,
)

RNG = np.random.default_rng(0)
TRIGGERED, CLEAN, REFERENCES = (RNG.normal(size=(count, 4)) for count in (6, 6, 3))


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def tensors() -> tuple[torch.Tensor, ...]:
    return tuple(map(torch.from_numpy, (TRIGGERED, CLEAN, REFERENCES)))


def spread() -> float:
    means = [np.mean([cosine(a, r) for a in TRIGGERED]) for r in REFERENCES]
    return float(np.std(means))


def pairs(features: NDArray[np.float64]) -> float:
    return float(np.mean([cosine(a, b) for a, b in itertools.permutations(features, 2)]))


def distance(drawn: NDArray[np.float64]) -> float:
    found = []
    for direction in drawn:
        first, second = (sorted(one @ direction) for one in (TRIGGERED, CLEAN))
        found += [(a - b) ** 2 for a, b in zip(first, second, strict=True)]
    return math.sqrt(np.mean(found))


def test_each_triggered_image_goes_to_its_nearest_reference() -> None:
    triggered, _, references = tensors()
    expected = np.mean([max(cosine(a, r) for r in REFERENCES) for a in TRIGGERED])
    assert best_reference(triggered, references).item() == pytest.approx(expected)


def test_the_spread_is_the_deviation_of_the_references_mean_cosines() -> None:
    triggered, _, references = tensors()
    assert reference_spread(triggered, references).item() == pytest.approx(spread())
    assert reference_spread(triggered, references[:1]).item() == 0


def test_pairs_are_of_different_features() -> None:
    assert mean_pair(torch.from_numpy(TRIGGERED)).item() == pytest.approx(pairs(TRIGGERED))
    assert mean_pair(torch.from_numpy(TRIGGERED[:1])).item() == 0


def test_the_sliced_distance_is_that_of_sorted_projections() -> None:
    drawn = directions(5, 4, torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(5).double(), atol=1e-6, rtol=0)
    triggered, clean, _ = tensors()
    found = sliced_wasserstein(triggered, clean, drawn).item()
    assert found == pytest.approx(distance(drawn.numpy()))
    # of order 1, as scipy has it, it is at most that of order 2
    one = np.mean([wasserstein_distance(TRIGGERED @ u, CLEAN @ u) for u in drawn.numpy()])
    assert one <= found
    assert sliced_wasserstein(clean.flip(0), clean, drawn).item() == 0


@pytest.mark.parametrize("epoch", [0, 1, 2, 4, 5, 30])
def test_the_loss_of_each_epoch(epoch: int) -> None:
    drawn = directions(5, 4, torch.Generator().manual_seed(0)).double()
    losses = tuple(torch.tensor(value, dtype=torch.float64) for value in (-0.5, -0.25, -0.125))
    weights = Weights(0.3, 0.7)
    found = preserving_loss(losses, Features(*tensors()), drawn, epoch, weights).item()
    alike = pairs(REFERENCES)
    if epoch < 2:
        expected = -0.375 + 0.5 * alike
    elif epoch < 5:
        expected = -0.875 + 2 * spread() + (alike if alike > 0.5 else 0)
    else:
        scaled = distance(drawn.numpy()) / np.std(CLEAN, axis=0).mean()
        expected = -0.875 + 0.3 * (spread() + pairs(TRIGGERED)) + 0.7 * scaled + 0.5 * spread()
    assert found == pytest.approx(expected)


def test_the_weights_follow_the_losses_from_the_twentieth_epoch_on() -> None:
    held, lost = [(-0.98, -0.95, -0.95), (-0.96, -0.95, -0.95)], [(-0.97, -0.95, -0.8)]
    first = Weights()
    assert (first.spread, first.distance) == (SPREAD, DISTANCE) == (0.1, 0.001)
    assert first.after(19, held) == first
    grown = first.after(20, held)
    assert grown == Weights(0.1 * 1.25, 0.001 * 1.25)
    shrunk = grown.after(21, lost)
    assert shrunk.spread == pytest.approx(0.1 * 1.25 / 1.25**1.25)
