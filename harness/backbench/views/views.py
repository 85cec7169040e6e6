"""Random views of whole batches, with every image's own parameters.

First the parameters are drawn (numbers only, on the host), then the pixels are computed (on the
device). A view depends on the seed, the epoch, the image and the view's number, and on nothing
else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbench.nn.batch import Batch, Boxes
from backbench.nn.parts import send
from backbench.options.views import ViewOptions
from backbench.views import taps
from backbench.views.boxes import Purpose, crop_boxes
from backbench.views.color import HUE, Jitter, exact_jitter, linear_jitter
from backbench.views.randomness import Draws
from backbench.views.resample import blur_matrices, blur_reach, resample


@dataclass(frozen=True, slots=True)
class ViewParameters:
    """One view of each image, as numbers.

    Args:
        boxes: Top, left, height, width in pixels, (B, 4), float32, whole numbers.
        flip: (B,), bool.
        jitter: Colors.
        sigma: Standard deviation of the blur in pixels, (B,), float32; 0 is no blur.
    """

    boxes: NDArray[np.float32]
    flip: NDArray[np.bool_]
    jitter: Jitter
    sigma: NDArray[np.float32]


def draws_of(batch: Batch, view: int) -> Draws:
    """Return the random numbers of one view of a batch."""
    return Draws(batch.seed, batch.epoch, batch.indices, view)


def random_view(
    batch: Batch, options: ViewOptions, size: int, view: int, *, within: Boxes | None = None
) -> Tensor:
    """Make the random view of each image with a number: (B, 3, size, size), float32 in [0, 1].

    Args:
        batch: The images.
        options: Distribution of the views.
        size: Side of a view in pixels.
        view: Number of the view.
        within: Region of each image that the view is drawn in as if it was the image: top, left,
            height, width in whole pixels, (B, 4); ``None``: the whole image.

    Source: He et al. 2020 and Chen et al. 2020, the views of MoCo v2: crop, jitter, gray,
        blur, flip; published code moco/main_moco.py.
    """
    parameters = view_parameters(draws_of(batch, view), batch.sizes, options, within)
    images = batch.crop(
        parameters.boxes, size, interpolation=options.interpolation, flip=parameters.flip
    )
    if parameters.jitter.active.any() or parameters.jitter.gray.any():
        change = exact_jitter if options.color == "exact" else linear_jitter
        images = change(images, parameters.jitter)
    return blur(images, parameters.sigma)


def view_boxes(
    batch: Batch, options: ViewOptions, view: int, *, within: Boxes | None = None
) -> NDArray[np.float32]:
    """Return the crop of each image in the random view with a number; see :func:`random_view`.

    Returns:
        Top, left, height, width in whole pixels, (B, 4), float32.
    """
    return _boxes(draws_of(batch, view), batch.sizes, options, within)


def _boxes(
    draws: Draws, sizes: NDArray[np.int64], options: ViewOptions, within: Boxes | None
) -> NDArray[np.float32]:
    if within is None:
        return crop_boxes(draws, sizes, options.scale, options.ratio)
    boxes = crop_boxes(draws, within[:, 2:].astype(np.int64), options.scale, options.ratio)
    boxes[:, :2] += within[:, :2]
    return boxes


def view_parameters(
    draws: Draws, sizes: NDArray[np.int64], options: ViewOptions, within: Boxes | None = None
) -> ViewParameters:
    """Draw the parameters of one view of each of B images; ``sizes`` are (height, width)."""
    low, high = options.blur_sigma
    sigma = low + draws.uniform(Purpose.BLUR_SIGMA, 1)[:, 0] * np.float32(high - low)
    blurred = draws.uniform(Purpose.BLUR, 1)[:, 0] < options.blur
    return ViewParameters(
        boxes=_boxes(draws, sizes, options, within),
        flip=draws.uniform(Purpose.FLIP, 1)[:, 0] < options.flip,
        jitter=_jitter(draws, options),
        sigma=np.where(blurred, sigma, 0).astype(np.float32),
    )


def _jitter(draws: Draws, options: ViewOptions) -> Jitter:
    strengths = np.asarray(
        [options.brightness, options.contrast, options.saturation, options.hue], dtype=np.float32
    )
    factors = (2 * draws.uniform(Purpose.JITTER_FACTORS, 4) - 1) * strengths
    factors[:, :HUE] += 1
    return Jitter(
        factors=factors,
        order=np.argsort(draws.uniform(Purpose.JITTER_ORDER, 4), axis=1, kind="stable"),
        active=draws.uniform(Purpose.JITTER, 1)[:, 0] < options.jitter,
        gray=draws.uniform(Purpose.GRAY, 1)[:, 0] < options.grayscale,
    )


def blur(images: Tensor, sigma: NDArray[np.float32]) -> Tensor:
    """Blur images in place with Gaussians of standard deviation ``sigma`` in pixels, or 0."""
    chosen = np.flatnonzero(sigma)
    if len(chosen) and taps.in_cache(images.device):
        for part in taps.pieces(0, len(chosen), images[:1].nbytes):
            rows = torch.from_numpy(chosen[part])
            deviations = torch.from_numpy(sigma[chosen[part]])
            images.index_copy_(0, rows, taps.blur_by_taps(images.index_select(0, rows), deviations))
    elif len(chosen):
        rows = send(chosen, images.device)
        reach = blur_reach(float(sigma.max()))
        matrices = blur_matrices(send(sigma[chosen], images.device), images.shape[-1], reach)
        images[rows] = resample(images[rows], matrices, matrices)
    return images
