"""BLTO against its description: the clipping, the outer problem, and views that pass gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from backbench.options.views import ViewOptions
from backbench.plugin import random_view
from backbench.views.batches import UniformBatch
from backbench.views.views import draws_of, view_parameters
from backbench_attacks.badencoder import similarity
from backbench_attacks.soft_views import soft_view
from backbench_attacks.trigger_network import TriggerNetwork, clipped


def test_the_trigger_is_clipped_to_the_bound_and_to_the_range_of_colors() -> None:
    rng, epsilon = np.random.default_rng(0), 8 / 255
    x, made = (rng.uniform(-0.2 * k, 1 + 0.2 * k, (2, 3, 4, 4)) for k in (0, 1))
    found = clipped(torch.from_numpy(made), torch.from_numpy(x), epsilon).numpy()
    for index in np.ndindex(x.shape):
        nearest = min(max(made[index], x[index] - epsilon), x[index] + epsilon)
        assert found[index] == pytest.approx(min(max(nearest, 0.0), 1.0), abs=1e-12)


def test_the_network_never_leaves_its_bound() -> None:
    torch.manual_seed(0)
    network, x = TriggerNetwork(0.1, 4), torch.rand(2, 3, 9, 12)
    for weight in network.parameters():
        weight.data *= 50
    with torch.no_grad():
        change = (network.triggered(x) - x).abs()
    assert change.max() <= 0.1 + 1e-6
    assert change.max() > 0.09


def test_the_outer_problem_is_the_mean_cosine_of_all_pairs() -> None:
    rng = np.random.default_rng(1)
    triggered, references = rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    pairs = [
        float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)) for a in triggered for b in references
    ]
    found = similarity(torch.from_numpy(triggered), torch.from_numpy(references))
    assert found.item() == pytest.approx(sum(pairs) / 12, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "inner"),
    [
        (ViewOptions(scale=(1, 1), ratio=(1, 1), color="linear", blur=0), slice(None)),
        (ViewOptions(scale=(1, 1), ratio=(1, 1), color="linear", blur=1), slice(None)),
        # at the edges of a crop, the filter of the other does not see what lies around it
        (ViewOptions(scale=(0.3, 0.6), jitter=0, grayscale=0, blur=0), slice(2, -2)),
    ],
)
def test_a_view_with_gradients_is_the_usual_view(options: ViewOptions, inner: slice) -> None:
    pixels = torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8)
    batch = UniformBatch(pixels, np.arange(8), epoch=0, seed=3)
    usual = random_view(batch, options, 16, 0)
    images = (pixels.permute(0, 3, 1, 2) / 255).requires_grad_()
    view = soft_view(images, view_parameters(draws_of(batch, 0), batch.sizes, options))
    both = (one[..., inner, inner].detach() for one in (view, usual))
    torch.testing.assert_close(*both, atol=2e-5, rtol=0)
    view.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
