"""Linear evaluation on fresh crops: one linear layer on normalised features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbench.images import ImageSet, Subset
from backbench.nn import Batch, Encoder
from backbench.plugin import ImageEvaluator
from backbench.runtime.features import extract
from backbench.seeds import derive
from backbench_evaluators.features import (
    Floats,
    NormalisedHead,
    fresh_layer,
    labelled_subset,
    standardisation,
    unit,
)
from backbench_evaluators.frozen import Layer, resized_crop, train
from backbench_evaluators.options import FrozenOptions


class LinearAugmented(ImageEvaluator):
    """A linear classifier on features of fresh crops, scaled to length 1, then standardised.

    Mean and variance are those of the labelled pictures as they are evaluated: whole, not cropped.

    Args:
        options: See :class:`FrozenOptions`.
        context: Seed, device, number of classes, progress.

    Source: published code moco/eval_linear.py: x / ‖x‖₂, (x − mean) / √(var + 1e-5) with the
        unbiased variance, torch's own start, SGD .01, momentum .9, weight decay 1e-4, batch 256,
        40 epochs, a tenth at 15 and 30, RandomResizedCrop and flip, the backbone in evaluation
        mode, no batch dropped.
    Differs: a picture without features stays without; the head of the last epoch is used, the
        published code also keeps the one that is best on the validation pictures.
    """

    options: FrozenOptions

    def fit(self, encoder: Encoder, images: ImageSet) -> None:
        """Learn from the clean pictures; see :meth:`backbench.plugin.ImageEvaluator.fit`."""
        context, where = self.context, torch.device(self.context.device)
        chosen = labelled_subset(
            images.labels, self.options.label_fraction, derive(context.seed, "labelled")
        )
        whole = self._features(encoder, Subset(images, chosen))
        normal = standardisation(unit(whole))
        mean, scale = (torch.from_numpy(one).to(where) for one in normal)

        def inputs(batch: Batch) -> Sequence[Tensor]:
            features = encoder(resized_crop(batch, encoder.spec.image_size)).float()
            return [(F.normalize(features, dim=1) - mean) * scale]

        rng = np.random.default_rng(derive(context.seed, "start"))
        layer = Layer(fresh_layer(rng, whole.shape[1], context.classes), where)
        train([layer], inputs, images, chosen, options=self.options, context=context)
        self._head = NormalisedHead(*normal, layer.weights())

    def predict(self, encoder: Encoder, images: ImageSet) -> Floats:
        """Return logits, (M, classes), of M pictures."""
        return self._head(self._features(encoder, images))

    def _features(self, encoder: Encoder, images: ImageSet) -> Floats:
        """Return the features of whole pictures, (M, D), as the encoder gives them."""
        context = self.context
        return extract(encoder, images, device=context.device, uniform=context.uniform)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return ``mean``, ``scale`` (D,), ``weight`` (classes, D) and ``bias`` (classes,)."""
        return self._head.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave; see :meth:`backbench.plugin.ImageEvaluator.restore`."""
        self._head = NormalisedHead.of(state)
