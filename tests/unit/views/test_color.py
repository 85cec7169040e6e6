"""Against torchvision, and the two kinds of jitter against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as V

from backbench.views import taps
from backbench.views.color import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    SATURATION,
    Jitter,
    exact_jitter,
    lightness,
    linear_jitter,
    turn_hue,
)

CHANGES = {
    BRIGHTNESS: V.adjust_brightness,
    CONTRAST: V.adjust_contrast,
    SATURATION: V.adjust_saturation,
    HUE: V.adjust_hue,
}


def jitter(count: int, *, hue: float = 0.1, strength: float = 0.4, seed: int = 0) -> Jitter:
    rng = np.random.default_rng(seed)
    factors = rng.uniform(1 - strength, 1 + strength, (count, 4))
    factors[:, HUE] = rng.uniform(-hue, hue, count)
    return Jitter(
        factors=factors.astype(np.float32),
        order=np.stack([rng.permutation(4) for _ in range(count)]),
        active=rng.random(count) < 0.8,
        gray=rng.random(count) < 0.2,
    )


def by_torchvision(image: torch.Tensor, changes: Jitter, row: int) -> torch.Tensor:
    if changes.active[row]:
        for which in changes.order[row]:
            image = CHANGES[int(which)](image, float(changes.factors[row, which]))
    return V.rgb_to_grayscale(image, 3) if changes.gray[row] else image


def test_exact_jitter_is_torchvisions():
    images = torch.rand(64, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    changes = jitter(64)
    expected = torch.stack([by_torchvision(image, changes, i) for i, image in enumerate(images)])
    assert (exact_jitter(images.clone(), changes) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("turns", [-0.5, -0.13, 0.0, 0.27, 0.5])
def test_hue_of_pure_and_gray_colors(turns: float):
    colors = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1), (0, 0, 0), (0.4, 0.4, 0.4)]
    images = torch.tensor(colors, dtype=torch.float32).view(-1, 3, 1, 1)
    amount = torch.full((len(images), 1, 1, 1), turns)
    expected = V.adjust_hue(images, turns)
    assert torch.allclose(turn_hue(images, amount), expected, atol=1e-5)


def test_linear_jitter_is_the_exact_one_where_nothing_clips():
    images = 0.45 + 0.1 * torch.rand(32, 3, 8, 8)
    changes = jitter(32, hue=0.0, strength=0.3)
    exact = exact_jitter(images.clone(), changes)
    assert (linear_jitter(images, changes) - exact).abs().max() < 1e-4


def test_linear_jitter_is_close_to_the_exact_one():
    images = 0.3 + 0.4 * torch.rand(64, 3, 8, 8)
    changes = jitter(64)
    exact = exact_jitter(images.clone(), changes)
    assert (linear_jitter(images, changes) - exact).abs().mean() < 0.03


def test_linear_jitter_keeps_its_input_and_the_range():
    images = torch.rand(16, 3, 8, 8)
    before = images.clone()
    result = linear_jitter(images, jitter(16, strength=0.9))
    assert torch.equal(images, before)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("change", [exact_jitter, linear_jitter])
def test_inactive_images_stay(change):
    images = torch.rand(4, 3, 8, 8)
    still = np.zeros(4, dtype=bool)
    changes = jitter(4)
    changes = Jitter(changes.factors, changes.order, active=still, gray=still)
    assert torch.allclose(change(images.clone(), changes), images, atol=1e-6)


def test_lightness_is_torchvisions():
    images = torch.rand(2, 3, 5, 5)
    assert torch.allclose(lightness(images), V.rgb_to_grayscale(images), atol=1e-6)


def test_it_is_the_same_however_a_device_makes_it(monkeypatch: pytest.MonkeyPatch):
    images = torch.rand(64, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    changes = jitter(64)
    here = exact_jitter(images.clone(), changes)
    monkeypatch.setattr(taps, "in_cache", lambda _: False)
    assert (exact_jitter(images.clone(), changes) - here).abs().max() < 1e-5


def test_jitter_without_hue_keeps_it():
    images = torch.rand(8, 3, 4, 4)
    changes = jitter(8, hue=0, strength=0)
    still = Jitter(changes.factors, changes.order, changes.active, np.zeros(8, dtype=bool))
    assert torch.equal(exact_jitter(images.clone(), still), images)
