"""Views of images, seen by an encoder that does not change, and linear layers on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbench.data.preprocess import with_margin
from backbench.images import ImageSet
from backbench.nn import Batch, Encoder
from backbench.options.training import ViewOptions
from backbench.plugin import EvaluationContext
from backbench.seeds import derive
from backbench.training.device import autocast
from backbench.training.extraction import images_at_once
from backbench.views.batches import open_source
from backbench.views.boxes import Purpose
from backbench.views.views import draws_of, random_view
from backbench_evaluators.evaluator_options import FrozenOptions
from backbench_evaluators.feature_sets import Floats

#: The published crops: 8 to 100 % of the area, and a flip half the time.
RESIZED_CROP = ViewOptions(scale=(0.08, 1.0), jitter=0, grayscale=0, blur=0)

#: Seconds between two reports of progress.
_INTERVAL_S = 0.5


class Layer:
    """A linear layer on a device.

    Args:
        weights: (inputs + 1, classes), the last row the bias.
        device: Where it is trained.
    """

    def __init__(self, weights: Floats, device: torch.device) -> None:
        self.weight = torch.from_numpy(weights[:-1].T.copy()).to(device).requires_grad_()
        self.bias = torch.from_numpy(weights[-1].copy()).to(device).requires_grad_()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return logits, (B, classes), of inputs (B, inputs)."""
        return F.linear(inputs, self.weight, self.bias)

    def weights(self) -> Floats:
        """Return (inputs + 1, classes), the last row the bias."""
        both = torch.cat([self.weight.detach().T, self.bias.detach()[None]])
        return np.asarray(both.cpu().numpy(), dtype=np.float32)


def train(
    layers: Sequence[Layer],
    inputs: Callable[[Batch], Sequence[Tensor]],
    images: ImageSet,
    chosen: NDArray[np.int64],
    *,
    options: FrozenOptions,
    context: EvaluationContext,
    least: int = 1,
) -> None:
    """Minimize the sum of the layers' cross-entropies.

    Every batch is of a fresh permutation; the last one of an epoch may be smaller.

    Args:
        layers: What is trained.
        inputs: Gives each layer's input, (B, its inputs), float32, of a batch of images.
        images: The training set.
        chosen: Indices of its labelled images.
        options: Epochs, batch size, SGD.
        context: Seed, device, progress.
        least: A smaller last batch than this is left out.
    """
    where = torch.device(context.device)
    labels = torch.from_numpy(np.asarray(images.labels)).to(where)
    optimizer = torch.optim.SGD(
        [part for layer in layers for part in (layer.weight, layer.bias)],
        lr=options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=options.nesterov,
    )
    views = derive(context.seed, "views")
    reported = time.monotonic()
    with open_source(images, where) as source:
        for epoch in range(options.epochs):
            lr = options.learning_rate(epoch)
            for group in optimizer.param_groups:
                group["lr"] = lr
            rng = np.random.default_rng(derive(context.seed, "order", epoch))
            order = chosen[rng.permutation(len(chosen))]
            total = torch.zeros((), device=where)
            done = 0
            for batch in source.batches(order, options.batch_size, epoch=epoch, seed=views):
                if len(batch) < least:
                    continue
                with torch.no_grad(), autocast("auto", where):
                    seen = inputs(batch)
                wanted = labels[torch.from_numpy(batch.indices).to(where)]
                losses = [
                    F.cross_entropy(layer(one), wanted)
                    for layer, one in zip(layers, seen, strict=True)
                ]
                loss = torch.stack(losses).sum()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += loss.detach() * len(batch)
                done += len(batch)
                if time.monotonic() - reported > _INTERVAL_S:
                    passed = epoch * len(order) + done
                    context.progress(passed, options.epochs * len(order), {})
                    reported = time.monotonic()
            values = {"loss": float(total) / max(done, 1), "lr": lr}
            context.progress((epoch + 1) * len(order), options.epochs * len(order), values)


def views(
    encoder: Encoder,
    images: ImageSet,
    chosen: NDArray[np.int64],
    count: int,
    *,
    context: EvaluationContext,
) -> NDArray[np.float32]:
    """Compute the features of the crops that :func:`train` sees in its first epochs.

    Args:
        encoder: The encoder, on the device.
        images: The training set.
        chosen: Indices of its labelled images, in ascending order, (N,).
        count: Number of epochs, V.
        context: Seed, device, progress.

    Returns:
        (V, N, D), as the encoder gives them.
    """
    where, side = torch.device(context.device), encoder.spec.image_size
    features = np.empty((count, len(chosen), encoder.feature_dim), dtype=np.float32)
    seed, size = derive(context.seed, "views"), images_at_once(side, where)
    reported = time.monotonic()
    with (
        open_source(images, where) as source,
        torch.inference_mode(),
        autocast("auto", where),
    ):
        for view, found in enumerate(features):
            done = 0
            for batch in source.batches(chosen, size, epoch=view, seed=seed):
                seen = encoder(resized_crop(batch, side)).float().cpu().numpy()
                found[done : done + len(batch)] = seen
                done += len(batch)
                if time.monotonic() - reported > _INTERVAL_S:
                    context.progress(view * len(chosen) + done, count * len(chosen), {})
                    reported = time.monotonic()
    return features


def resized_crop(batch: Batch, side: int) -> Tensor:
    """Return a random crop of each image, resized, and mirrored half the time.

    Args:
        batch: B images.
        side: Side of the views.

    Returns:
        (B, 3, side, side), float32 in [0, 1].

    Source: published code moco/eval_linear.py and jigsaw/eval_conv_linear.py:
        RandomResizedCrop(224), that is .08 to 1 of the area, and a horizontal flip.
    """
    return random_view(batch, RESIZED_CROP, side, view=0)


def crop(batch: Batch, side: int) -> Tensor:
    """Return a random square of each image, resized before to 256/224 of the side.

    Args:
        batch: B images.
        side: Side of the views.

    Returns:
        (B, 3, side, side), float32 in [0, 1], mirrored half the time.

    Source: published code, the linear configurations of rotnet: Scale(256), RandomCrop(224),
        horizontal flip.
    Differs: one resampling of the square instead of one of the whole image.
    """
    draws, sizes = draws_of(batch, 0), batch.sizes
    short = with_margin(side)
    resized = np.maximum(short, sizes * short // sizes.min(axis=1, keepdims=True))
    corners = draws.integers(Purpose.CROP_PLACE, resized - side + 1, 2)
    zoom = sizes / resized
    boxes = np.concatenate([corners * zoom, side * zoom], axis=1).astype(np.float32)
    flip = draws.uniform(Purpose.FLIP, 1)[:, 0] < RESIZED_CROP.flip
    return batch.crop(boxes, side, isolated=False, flip=flip)
