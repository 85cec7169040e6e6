"""The stealth of poisons and triggers: how alike an image is before and after stamping. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backbench.images import Pixels

#: Side of the windows of SSIM, in pixels.
WINDOW: Final = 7

#: Stabilize the quotients of SSIM, as shares of the range of levels.
_K1, _K2 = 0.01, 0.03

#: Number of levels less one.
_RANGE = 255

#: Most images of a split that are compared.
MOST_COMPARED: Final = 128

#: Names of the numbers that :func:`averages` gives of poisons and of triggers.
MEASURED: Final = frozenset(
    f"{of}_{number}" for of in ("poison", "trigger") for number in ("psnr", "ssim")
)


def psnr(before: Pixels, after: Pixels) -> float:
    """Return the peak signal-to-noise ratio of two images, (H, W, 3), in decibels.

    It is 10 log₁₀(255² / mean squared difference), and infinite where nothing differs.
    """
    error = float(np.square(before.astype(np.int64) - after).mean())
    return 10 * math.log10(_RANGE**2 / error) if error else math.inf


def ssim(before: Pixels, after: Pixels) -> float | None:
    """Return the structural similarity of two images, (H, W, 3), at most 1.

    It is the mean over all windows of 7 × 7 pixels within the image, and over the channels;
    variances are those of a sample. ``None`` where no window fits.

    Source: Wang et al. 2004, Image quality assessment: from error visibility to structural
        similarity, equation 13.
    Differs: uniform windows of 7 pixels and not Gaussian ones of 11, as scikit-image computes it
        without further arguments.
    """
    if min(before.shape[:2]) < WINDOW:
        return None
    x, y = before.astype(np.int64), after.astype(np.int64)
    number = WINDOW**2
    sum_x, sum_y = _window_sums(x), _window_sums(y)
    # exact: sums of whole numbers
    variance_x = (_window_sums(x * x) - sum_x**2 / number) / (number - 1)
    variance_y = (_window_sums(y * y) - sum_y**2 / number) / (number - 1)
    covariance = (_window_sums(x * y) - sum_x * sum_y / number) / (number - 1)
    mean_x, mean_y = sum_x / number, sum_y / number
    c1, c2 = (_K1 * _RANGE) ** 2, (_K2 * _RANGE) ** 2
    found = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    found = found / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
    return float(found.mean())


def _window_sums(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum over each window, (H - 6, W - 6, 3), of (H, W, 3)."""
    sums = np.pad(values, ((1, 0), (1, 0), (0, 0))).cumsum(axis=0).cumsum(axis=1)
    rows = sums[WINDOW:] - sums[:-WINDOW]
    return np.asarray(rows[:, WINDOW:] - rows[:, :-WINDOW])


def compared(images: int) -> frozenset[int]:
    """Return which of so many images are compared: all, or 128 evenly spaced."""
    return frozenset(np.linspace(0, images - 1, min(images, MOST_COMPARED)).astype(int).tolist())


class Likeness(NamedTuple):
    """PSNR and SSIM of an image before and after stamping."""

    psnr: float
    ssim: float | None


def likeness(before: Pixels, after: Pixels) -> Likeness:
    """Return PSNR and SSIM of an image, (H, W, 3), before and after stamping."""
    return Likeness(psnr(before, after), ssim(before, after))


def averages(of: str, found: Sequence[Likeness]) -> dict[str, float]:
    """Return the mean PSNR and SSIM of images, as ``OF_psnr`` and ``OF_ssim``.

    Images in which nothing differs have no PSNR, and images smaller than a window no SSIM; a
    number of no image is left out.
    """
    ratios = [one.psnr for one in found if math.isfinite(one.psnr)]
    similarities = [one.ssim for one in found if one.ssim is not None]
    numbers = {f"{of}_psnr": ratios, f"{of}_ssim": similarities}
    return {name: math.fsum(values) / len(values) for name, values in numbers.items() if values}
