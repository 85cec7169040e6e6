"""Linear evaluation on crops: one linear layer on normalized features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbench.images import ImageSet, Subset
from backbench.nn import Batch, Encoder
from backbench.nn.knn import unit
from backbench.plugin import ImageEvaluator
from backbench.seeds import derive
from backbench.training.extraction import extract, for_evaluation
from backbench_evaluators.evaluator_options import CachedOptions, FrozenOptions
from backbench_evaluators.feature_sets import (
    Floats,
    NormalizedHead,
    fresh_layer,
    labelled_subset,
    standardization,
)
from backbench_evaluators.frozen import Layer, resized_crop, train, views
from backbench_evaluators.sgd import SGD


class LinearAugmented(ImageEvaluator):
    """A linear classifier on features of crops, scaled to length 1, then standardized.

    Mean and variance are those of the labelled images as they are evaluated: whole, not cropped.

    Args:
        options: See :class:`FrozenOptions`.
        context: Seed, device, number of classes, progress.

    Source: published code moco/eval_linear.py: x / ‖x‖₂, (x − mean) / √(var + 1e-5) with the
        unbiased variance, torch's own start, SGD .01, momentum .9, weight decay 1e-4, batch 256,
        40 epochs, a tenth at 15 and 30, RandomResizedCrop and flip, the backbone in evaluation
        mode, no batch dropped.
    Differs: an image without features stays without; the head of the last epoch is used, the
        published code also keeps the one that is best on the validation images.
    """

    options: FrozenOptions

    def fit(self, encoder: Encoder, images: ImageSet) -> None:
        """Learn from the clean images; see :meth:`backbench.plugin.ImageEvaluator.fit`."""
        context = self.context
        encoder = for_evaluation(encoder, context.device)
        chosen = labelled_subset(
            images.labels, self.options.label_fraction, derive(context.seed, "labelled")
        )
        whole = self._features(encoder, Subset(images, chosen))
        rng = np.random.default_rng(derive(context.seed, "start"))
        start = fresh_layer(rng, whole.shape[1], context.classes)
        head = NormalizedHead(*standardization(unit(whole)), start)
        self._head = replace(head, weights=self._learn(head, encoder, images, chosen))

    def _learn(
        self,
        head: NormalizedHead,
        encoder: Encoder,
        images: ImageSet,
        chosen: NDArray[np.int64],
    ) -> Floats:
        """Return the weights, (D + 1, classes), of a head after all epochs.

        Args:
            head: With the weights of the start.
            encoder: For evaluation, on the device.
            images: The training set.
            chosen: Indices of its labelled images, (N,).
        """
        where = torch.device(self.context.device)
        mean, scale = (torch.from_numpy(one).to(where) for one in (head.mean, head.scale))

        def inputs(batch: Batch) -> Sequence[Tensor]:
            features = encoder(resized_crop(batch, encoder.spec.image_size)).float()
            return [(F.normalize(features, dim=1) - mean) * scale]

        layer = Layer(head.weights, where)
        train([layer], inputs, images, chosen, options=self.options, context=self.context)
        return layer.weights()

    def predict(self, encoder: Encoder, images: ImageSet) -> Floats:
        """Return logits, (M, classes), of M images."""
        return self._head(self._features(for_evaluation(encoder, self.context.device), images))

    def _features(self, encoder: Encoder, images: ImageSet) -> Floats:
        """Return the features of whole images, (M, D), as the encoder gives them."""
        return extract(encoder, images, device=self.context.device)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return ``mean``, ``scale`` (D,), ``weight`` (classes, D) and ``bias`` (classes,)."""
        return self._head.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave; see :meth:`backbench.plugin.ImageEvaluator.restore`."""
        self._head = NormalizedHead.of(state)


class LinearCached(LinearAugmented):
    """The same, on crops of which there are a few of each image.

    The features of the crops of the first V epochs are kept, in 4 · V · N · D bytes of N labelled
    images, and seen again in the epochs after.

    Args:
        options: See :class:`CachedOptions`; with as many views as epochs all crops are fresh.
        context: Seed, device, number of classes, progress.

    Source: published code moco/eval_linear.py; see :class:`LinearAugmented`.
    Differs: see there; V crops of each image instead of 40.
    """

    options: CachedOptions

    def _learn(
        self,
        head: NormalizedHead,
        encoder: Encoder,
        images: ImageSet,
        chosen: NDArray[np.int64],
    ) -> Floats:
        """Return the weights after all epochs; see :meth:`LinearAugmented._learn`."""
        options, context = self.options, self.context
        count = min(options.views, options.epochs)
        features = views(encoder, images, chosen, count, context=context)
        for one in features:
            one[:] = (unit(one) - head.mean) * head.scale
        weights, labels = head.weights.copy(), images.labels[chosen]
        sgd = SGD(weights, options.momentum, options.weight_decay, nesterov=options.nesterov)
        for epoch in range(options.epochs):
            lr = options.learning_rate(epoch)
            rng = np.random.default_rng(derive(context.seed, "order", epoch))
            order = rng.permutation(len(chosen))
            loss = sgd.epoch(features[epoch % count], labels, order, options.batch_size, lr)
            context.progress(epoch + 1, options.epochs, {"loss": loss, "lr": lr})
        return weights
