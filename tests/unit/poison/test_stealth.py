"""PSNR and SSIM against their formulas, window by window."""

from __future__ import annotations

import math

import numpy as np
import pytest

from backbench.poison.stealth import averages, compared, likeness, psnr, ssim


def image(seed: int, height: int = 12, width: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def noisy(before: np.ndarray, strength: int) -> np.ndarray:
    noise = np.random.default_rng(9).integers(-strength, strength + 1, before.shape)
    return np.clip(before.astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("strength", [1, 8, 90])
def test_ssim_is_the_mean_over_windows_and_channels(strength: int) -> None:
    before = image(0)
    after = noisy(before, strength)
    values = []
    for channel in range(3):
        for top in range(12 - 6):
            for left in range(10 - 6):
                x, y = (
                    one[top : top + 7, left : left + 7, channel].astype(float).ravel()
                    for one in (before, after)
                )
                (var_x, covariance), (_, var_y) = np.cov(x, y, ddof=1)
                c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
                luminance = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
                values.append(luminance * (2 * covariance + c2) / (var_x + var_y + c2))
    assert ssim(before, after) == pytest.approx(np.mean(values), rel=1e-10)


def test_an_image_is_like_itself_and_unlike_its_negative() -> None:
    assert ssim(image(1), image(1)) == pytest.approx(1.0)
    assert psnr(image(1), image(1)) == math.inf
    found = ssim(image(1), 255 - image(1))
    assert found is not None
    assert found < 0


def test_psnr_by_hand() -> None:
    before = np.full((8, 8, 3), 100, dtype=np.uint8)
    after = before.copy()
    after[0, 0, 0] += 16  # a squared difference of 256 among 192 values
    assert psnr(before, after) == pytest.approx(10 * math.log10(255**2 * 192 / 256))
    assert psnr(after, before) == psnr(before, after)


def test_averages_leave_out_images_without_a_number() -> None:
    before = image(2)
    found = [likeness(before, noisy(before, strength)) for strength in (2, 4, 60)]
    low = image(3, 6)
    flat = likeness(low, noisy(low, 4))
    same = likeness(before, before)
    assert flat.ssim is None
    assert same.psnr == math.inf
    numbers = averages("poison", [*found, same, flat])
    assert set(numbers) == {"poison_psnr", "poison_ssim"}
    assert numbers["poison_psnr"] == pytest.approx(np.mean([one.psnr for one in [*found, flat]]))
    assert numbers["poison_ssim"] == pytest.approx(np.mean([one.ssim for one in [*found, same]]))
    assert averages("poison", []) == {}
    assert averages("trigger", [same]) == {"trigger_ssim": 1}


def test_at_most_128_images_are_compared_evenly() -> None:
    assert compared(3) == {0, 1, 2}
    assert compared(0) == frozenset()
    found = sorted(compared(1000))
    assert len(found) == 128
    assert (found[0], found[-1]) == (0, 999)
    assert max(np.diff(found)) <= 8
