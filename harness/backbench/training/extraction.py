"""Features of an image set: one pass of a frozen encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbench.data.packed import MappedArray
from backbench.data.preprocess import evaluation_image
from backbench.errors import StageError
from backbench.images import ImageSet, Pixels
from backbench.nn.batch_norm import folded
from backbench.nn.encoder import Encoder
from backbench.training.device import Precision, autocast, resolve_precision, to_device
from backbench.views.batches import as_tensor, reader_pool

#: Pixels in a batch on a processor: 128 images of 64 × 64. Each batch lays out the weights anew:
#: of half as many images, ResNet-18 takes 7 % longer. No feature depends on it, but for the
#: rounding of a last batch of one image in float32.
BATCH_PIXELS = 2**19

#: The same on other devices: 334 images of 224 × 224.
DEVICE_BATCH_PIXELS = 2**24


def for_evaluation(encoder: Encoder, device: str, precision: Precision = "auto") -> Encoder:
    """Copy an encoder to a device, in the form in which it is fastest, for many images.

    Batch norms are folded into the convolutions, and these are in the type that they compute in:
    the copy runs within :func:`~backbench.training.device.autocast` of that precision, as in
    :func:`extract`. It cannot be trained.
    """
    where = torch.device(device)
    copy = to_device(folded(encoder), where)
    types = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    wanted = types[resolve_precision(precision, where)]
    for module in copy.modules():
        # Autocast would do the same in every batch anew.
        if isinstance(module, torch.nn.Conv2d):
            module.to(wanted)
    return copy


def extract(
    encoder: Encoder, images: ImageSet, *, device: str, precision: Precision = "auto"
) -> NDArray[np.float32]:
    """Map every image to its features.

    Images that share one size are seen as they are where they have the encoder's size, and
    are resized to it otherwise; images of many sizes are resized to 256/224 of it, and their
    center is cut out. Batch norms use their running statistics.

    Returns:
        (N, D), float32, not normalized.

    Raises:
        StageError: If some are not finite.

    Source: the published evaluation transform, Resize(256), CenterCrop(224).
    """
    features = np.empty((len(images), encoder.feature_dim), dtype=np.float32)
    for rows, found in extracted(encoder, images, device=device, precision=precision):
        features[rows] = found
    return features


def extracted(
    encoder: Encoder, images: ImageSet, *, device: str, precision: Precision = "auto"
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield rows of a set, and their features, (B, D), float32; see :func:`extract`."""
    where = torch.device(device)
    training = encoder.training
    finite = np.ones(len(images), dtype=bool)
    encoder = to_device(encoder, where, channels_last=encoder.channels_last).eval()
    try:
        for rows, batch in evaluation_tensors(images, encoder.spec.image_size, where):
            # not around the loop: the consumer of a batch would be in these modes as well
            with torch.inference_mode(), autocast(precision, where):
                found = encoder(batch).float().cpu().numpy()
            finite[rows] = np.isfinite(found).all(axis=1)
            yield rows, found
    finally:
        encoder.train(training)
    if not finite.all():
        raise StageError(
            f"the features of {np.count_nonzero(~finite)} of {len(images)} images are not finite, "
            f"the first of them {images.sources[int(finite.argmin())]}"
        )


def evaluation_batch(
    encoder: Encoder, images: ImageSet, rows: Sequence[int] | None = None
) -> Tensor:
    """Return images as an encoder is evaluated on them.

    Args:
        encoder: Its side in pixels and its device are taken.
        images: A set.
        rows: Indices of B images; all if ``None``.

    Returns:
        (B, 3, side, side), float32 in [0, 1].
    """
    side, margin = encoder.spec.image_size, images.size is None
    chosen = range(len(images)) if rows is None else rows
    found = [evaluation_image(images.image(int(row)), side, margin=margin) for row in chosen]
    batch = as_tensor(np.stack(found)).to(encoder.mean.device).permute(0, 3, 1, 2)
    return batch.to(torch.float32, memory_format=torch.channels_last).div_(255)


def evaluation_tensors(
    images: ImageSet, side: int, device: torch.device
) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows of a set, and their images as an encoder is evaluated on them, on the device.

    Images are (B, 3, side, side), float32 in [0, 1].
    """
    length = images_at_once(side, device)
    stored = images.pixels if images.size == (side, side) else None

    def one(index: int) -> Pixels:
        return evaluation_image(images.image(index), side, margin=images.size is None)

    with reader_pool() as pool:  # it starts threads only for images that are not stored
        for start in range(0, len(images), length):
            rows = slice(start, min(start + length, len(images)))
            if stored is None:
                pixels = np.stack(list(pool.map(one, range(rows.start, rows.stop))))
            else:
                pixels = stored[rows]
            batch = as_tensor(pixels).to(device).permute(0, 3, 1, 2)
            yield rows, batch.to(torch.float32, memory_format=torch.channels_last).div_(255)
            if stored is not None and isinstance(images, MappedArray):
                images.passed(pixels.nbytes)


def images_at_once(side: int, device: torch.device) -> int:
    """Return the batch size with which features are computed fastest."""
    pixels = BATCH_PIXELS if device.type == "cpu" else DEVICE_BATCH_PIXELS
    return max(8, pixels // side**2)
