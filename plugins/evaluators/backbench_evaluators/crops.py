"""Random crops of images, as the published code cuts them."""

from __future__ import annotations

from torch import Tensor

from backbench.data.preprocess import with_margin
from backbench.nn import Batch
from backbench.options.training import ViewOptions
from backbench.views.boxes import Purpose, square_boxes
from backbench.views.views import draws_of, random_view

#: The published crops: 8 to 100 % of the area, and a flip half the time.
RESIZED_CROP = ViewOptions(scale=(0.08, 1.0), jitter=0, grayscale=0, blur=0)


def resized_crop(batch: Batch, side: int) -> Tensor:
    """Return a random crop of each image, resized and half the time mirrored, (B, 3, side, side).

    Source: published code moco/eval_linear.py and jigsaw/eval_conv_linear.py:
        RandomResizedCrop(224), that is .08 to 1 of the area, and a horizontal flip.
    """
    return random_view(batch, RESIZED_CROP, side, view=0)


def crop(batch: Batch, side: int) -> Tensor:
    """Return a random square, (B, 3, side, side), of images resized to 256/224 of the side.

    Source: published code, the linear configurations of rotnet: Scale(256), RandomCrop(224),
        horizontal flip.
    Differs: one resampling of the square instead of one of the whole image.
    """
    draws = draws_of(batch, 0)
    boxes = square_boxes(draws, Purpose.CROP_PLACE, batch.sizes, with_margin(side), side)
    flip = draws.uniform(Purpose.FLIP, 1)[:, 0] < RESIZED_CROP.flip
    return batch.crop(boxes, side, isolated=False, flip=flip)
