"""DECREE against its formulas, written out with NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from backbench_defenses.decree import mean_cosine
from backbench_defenses.inversion import AdaptiveWeight, Trigger, TriggerParameters, pasted


def test_the_loss_is_the_mean_cosine_of_all_pairs_of_different_images() -> None:
    features = np.random.default_rng(0).normal(size=(5, 7))
    cosines = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in itertools.permutations(features, 2)]
    found = mean_cosine(torch.from_numpy(features)).item()
    assert found == pytest.approx(np.mean(cosines), abs=1e-12)
    assert mean_cosine(torch.ones(4, 3)).item() == pytest.approx(1)


def test_a_trigger_is_pasted_by_its_mask() -> None:
    rng = np.random.default_rng(1)
    x, m, p = rng.random((2, 3, 4, 4)), rng.random((4, 4)), rng.random((3, 4, 4))
    found = pasted(torch.from_numpy(x), Trigger(torch.from_numpy(m), torch.from_numpy(p)))
    expected = np.empty_like(x)
    for b, c, row, column in np.ndindex(x.shape):
        share = m[row, column]
        expected[b, c, row, column] = (1 - share) * x[b, c, row, column] + share * p[c, row, column]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_mask_and_pattern_are_half_of_one_plus_tanh_and_start_uniform() -> None:
    parameters = TriggerParameters(64, 3, torch.device("cpu"))
    mask, pattern = parameters.trigger()
    expected = (np.tanh(parameters.mask.detach().numpy()) + 1) / 2
    np.testing.assert_allclose(mask.detach().numpy(), expected, atol=1e-6)
    for found in (mask, pattern):
        assert found.mean().item() == pytest.approx(0.5, abs=0.02)
        assert found.std().item() == pytest.approx(12**-0.5, abs=0.02)
    again = TriggerParameters(64, 3, torch.device("cpu"))
    assert again.mask.equal(parameters.mask)
    assert not TriggerParameters(64, 4, torch.device("cpu")).mask.equal(parameters.mask)


def published(
    outcomes: list[bool], value: float, factor: float, patience: int, least: float
) -> list[float]:
    """Return λ after each outcome: up after a run of successes, down after one of failures."""
    found, run = [], 0
    for index, success in enumerate(outcomes):
        run = run + 1 if index and outcomes[index - 1] == success and run < patience else 1
        if run == patience:
            value = value * factor if success else max(least, value / factor)
        found.append(value)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_weight_of_the_mask_follows_runs_of_outcomes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcomes = [bool(one) for one in np.repeat(rng.integers(0, 2, 60), rng.integers(1, 9, 60))]
    weight = AdaptiveWeight(1e-3, 5.0, 5, 1e-5)
    found = []
    for outcome in outcomes:
        weight.note(success=outcome)
        found.append(weight.value)
    assert found == published(outcomes, 1e-3, 5.0, 5, 1e-5)
    assert min(found) >= 1e-5
