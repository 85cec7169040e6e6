"""Linear probes on random crops of images: their training, and those that read features."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from backbench.nn import Batch, Encoder
from backbench.nn.knn import unit
from backbench.plugin import ImageEvaluator, ImageSet, Subset, ViewOptions, derive, with_margin
from backbench.training import optimizers
from backbench.training.device import autocast
from backbench.training.extraction import extract, for_evaluation, images_at_once
from backbench.views.batches import open_source
from backbench.views.boxes import Purpose, square_boxes
from backbench.views.views import draws_of, random_view
from backbench_evaluators.classifiers import (
    SGD,
    Floats,
    Ints,
    LinearClassifier,
    fresh_layer,
    labelled_images,
    packed,
    standardization,
    unpacked,
)
from backbench_evaluators.evaluator_options import CachedOptions, FrozenOptions

#: The published crops: 8 to 100 % of the area, and a flip half the time.
RESIZED_CROP = ViewOptions(scale=(0.08, 1.0), jitter=0, grayscale=0, blur=0)

#: Seconds between two reports of progress within an epoch.
_INTERVAL_S = 0.5


class ViewProbe(ImageEvaluator):
    """Linear classifiers on random crops of the labelled images, seen by the frozen encoder.

    They learn together by the sum of their cross-entropies; none minds the others.

    Source: published code moco/eval_linear.py: torch's own start, SGD .01, momentum .9, weight
        decay 1e-4, batch 256, 40 epochs, a tenth at 15 and 30, RandomResizedCrop and flip, the
        backbone in evaluation mode, no batch dropped.
    Differs: the classifier of the last epoch is used, the published code also keeps the one that
        is best on the validation images.
    """

    options: FrozenOptions

    #: A smaller batch is left out.
    least = 1

    @abstractmethod
    def start(
        self, encoder: Encoder, images: ImageSet, chosen: Ints, rng: np.random.Generator
    ) -> list[Floats]:
        """Draw the weights of each classifier, (inputs + 1, classes), the last row the bias."""

    @abstractmethod
    def read(self, encoder: Encoder, batch: Batch) -> Sequence[Tensor]:
        """Return the inputs of each classifier, (B, inputs), from random crops of a batch."""

    @abstractmethod
    def finish(self, weights: Sequence[Floats]) -> None:
        """Keep the classifiers with their weights after all epochs."""

    def fit(self, encoder: Encoder, images: ImageSet) -> None:
        """Learn from the clean images; see :meth:`backbench.plugin.ImageEvaluator.fit`."""
        encoder, seed = for_evaluation(encoder, self.context.device), self.context.seed
        chosen = labelled_images(self.options, images.labels, images.sources, seed)
        rng = np.random.default_rng(derive(seed, "start"))
        start = self.start(encoder, images, chosen, rng)
        self.finish(self.trained(start, encoder, images, chosen))

    def trained(
        self, start: Sequence[Floats], encoder: Encoder, images: ImageSet, chosen: Ints
    ) -> list[Floats]:
        """Return the weights after all epochs, each on fresh crops of the chosen images."""
        options, context = self.options, self.context
        where = torch.device(context.device)
        labels = torch.tensor(images.labels, device=where)
        layers = [_layer(weights, where) for weights in start]
        optimizer = optimizers.SGD(
            [part for layer in layers for part in layer.parameters()],
            lr=options.lr,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
            nesterov=options.nesterov,
        )
        seed, steps = derive(context.seed, "views"), options.epochs * len(chosen)
        reported = time.monotonic()
        with open_source(images, where) as source:
            for epoch in range(options.epochs):
                lr = options.learning_rate(epoch)
                for group in optimizer.param_groups:
                    group["lr"] = lr
                order = chosen[self.order(epoch, len(chosen))]
                total, done = torch.zeros((), device=where), 0
                for batch in source.batches(order, options.batch_size, epoch=epoch, seed=seed):
                    if len(batch) < self.least:
                        continue
                    with torch.no_grad(), autocast("auto", where):
                        seen = self.read(encoder, batch)
                    wanted = labels[torch.from_numpy(batch.indices).to(where)]
                    pairs = zip(layers, seen, strict=True)
                    losses = [F.cross_entropy(layer(inputs), wanted) for layer, inputs in pairs]
                    loss = torch.stack(losses).sum()
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    total += loss.detach() * len(batch)
                    done += len(batch)
                    if time.monotonic() - reported > _INTERVAL_S:
                        context.progress(epoch * len(order) + done, steps, {})
                        reported = time.monotonic()
                values = {"loss": float(total) / max(done, 1), "lr": lr}
                context.progress((epoch + 1) * len(order), steps, values)
        return [
            unpacked({name: part.cpu().numpy() for name, part in layer.state_dict().items()})
            for layer in layers
        ]

    def order(self, epoch: int, images: int) -> Ints:
        """Return the order of so many images in an epoch."""
        return np.random.default_rng(derive(self.context.seed, "order", epoch)).permutation(images)


def _layer(weights: Floats, device: torch.device) -> nn.Linear:
    state = {name: torch.from_numpy(part.copy()) for name, part in packed(weights).items()}
    classes, inputs = state["weight"].shape
    # skip_init draws no weights
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, classes, device=device)  # type: ignore[no-untyped-call]
    layer.load_state_dict(state)
    return layer


class CropProbe(ViewProbe):
    """A linear classifier on the features of fresh crops, scaled to length 1 and standardized.

    Mean and variance are those of the labelled images as they are evaluated: whole, not cropped.

    Source: published code moco/eval_linear.py: x / ‖x‖₂, (x − mean) / √(var + 1e-5) with the
        unbiased variance; see :class:`ViewProbe`.
    Differs: an image without features stays without.
    """

    def start(
        self, encoder: Encoder, images: ImageSet, chosen: Ints, rng: np.random.Generator
    ) -> list[Floats]:
        """Measure mean and variance, and draw the weights of the only classifier."""
        whole = extract(encoder, Subset(images, chosen), device=self.context.device)
        start = fresh_layer(rng, whole.shape[1], self.context.classes)
        normal = standardization(unit(whole))
        self._classifier = LinearClassifier(start, *normal)
        where = torch.device(self.context.device)
        self._mean, self._scale = (torch.from_numpy(part).to(where) for part in normal)
        return [start]

    def read(self, encoder: Encoder, batch: Batch) -> Sequence[Tensor]:
        """Return the normalized features of a random crop of each image, (B, D)."""
        features = encoder(resized_crop(batch, encoder.spec.image_size)).float()
        return [(F.normalize(features, dim=1) - self._mean) * self._scale]

    def finish(self, weights: Sequence[Floats]) -> None:
        """Keep the classifier with its weights after all epochs."""
        self._classifier = replace(self._classifier, weights=weights[0])

    def predict(self, encoder: Encoder, images: ImageSet) -> Floats:
        """Return logits, (M, classes), of M whole images."""
        encoder = for_evaluation(encoder, self.context.device)
        return self._classifier(extract(encoder, images, device=self.context.device))

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return ``mean``, ``scale`` (D,), ``weight`` (classes, D) and ``bias`` (classes,)."""
        return self._classifier.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave."""
        self._classifier = LinearClassifier.of(state, normalized=True)


class CachedCropProbe(CropProbe):
    """The same on a few crops of each image, of which an epoch sees one, in turn.

    The features of V crops of N images take 4 · V · N · D bytes.

    Differs: V crops of each image, where the published code has one in each of 40 epochs.
    """

    options: CachedOptions

    def trained(
        self, start: Sequence[Floats], encoder: Encoder, images: ImageSet, chosen: Ints
    ) -> list[Floats]:
        """Return the weights after all epochs, each on the next crop of each chosen image."""
        options, (weights,) = self.options, start
        features = self._features(encoder, images, chosen)
        for one in features:
            one[:] = self._classifier.inputs(one)
        labels = images.labels[chosen]
        sgd = SGD(weights, options.momentum, options.weight_decay, nesterov=options.nesterov)
        for epoch in range(options.epochs):
            lr, order = options.learning_rate(epoch), self.order(epoch, len(labels))
            seen = features[epoch % len(features)]
            loss = sgd.epoch(seen, labels, order, options.batch_size, lr, drop_last=False)
            self.context.progress(epoch + 1, options.epochs, {"loss": loss, "lr": lr})
        return [weights]

    def _features(self, encoder: Encoder, images: ImageSet, chosen: Ints) -> Floats:
        """Compute the features, (V, N, D), of a crop of each chosen image in each of V epochs."""
        where, side = torch.device(self.context.device), encoder.spec.image_size
        count = min(self.options.views, self.options.epochs)
        features = np.empty((count, len(chosen), encoder.feature_dim), dtype=np.float32)
        seed, size = derive(self.context.seed, "views"), images_at_once(side, where)
        reported = time.monotonic()
        with open_source(images, where) as source, torch.inference_mode(), autocast("auto", where):
            for view, found in enumerate(features):
                done = 0
                for batch in source.batches(chosen, size, epoch=view, seed=seed):
                    seen = encoder(resized_crop(batch, side)).float().cpu().numpy()
                    found[done : done + len(batch)] = seen
                    done += len(batch)
                    if time.monotonic() - reported > _INTERVAL_S:
                        self.context.progress(view * len(chosen) + done, count * len(chosen), {})
                        reported = time.monotonic()
        return features


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
