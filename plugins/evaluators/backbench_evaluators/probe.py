"""Linear evaluation of each stage of an encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbench.errors import StageError
from backbench.images import ImageSet
from backbench.nn import Batch, Encoder
from backbench.plugin import ImageEvaluator
from backbench.seeds import derive
from backbench.training.device import autocast
from backbench.training.extraction import evaluation_tensors, for_evaluation
from backbench_evaluators.evaluator_options import ProbeOptions
from backbench_evaluators.feature_sets import (
    Floats,
    fitting,
    fresh_layer,
    labelled_subset,
    logits,
    packed,
    require,
    unpacked,
)
from backbench_evaluators.frozen import Layer, crop, resized_crop, train

#: Share of a batch in the running mean and variance of a batch norm, and what is added to the
#: variance: torch's own.
MOMENTUM, EPSILON = 0.1, 1e-5

_VIEWS = {"resized-crop": resized_crop, "crop": crop}


@dataclass(frozen=True, slots=True)
class StageHead:
    """A linear layer on the averaged map of one stage.

    Args:
        weights: (C · p · p + 1, classes), the last row the bias.
        mean: Running mean of the channels, (C,); ``None`` without batch norm.
        variance: Their running variance, (C,).
    """

    weights: Floats
    mean: Floats | None
    variance: Floats | None


class LayerProbe(ImageEvaluator):
    """A linear classifier on the map of each stage; each is a head of its own.

    The maps are those after the stem's ReLU and after each stage; they are averaged to a few
    pixels, flattened, and classified. All classifiers learn together, none minds the others.

    Args:
        options: See :class:`ProbeOptions`; the presets are the two published recipes.
        context: Seed, device, number of classes, progress.

    Source: published code jigsaw/eval_conv_linear.py and the linear configurations of rotnet,
        on the five maps of a ResNet-18: pooled to 12², 12², 8², 6², 4², inputs
        9216, 9216, 8192, 9216, 8192.
    Differs: maps smaller than that are not enlarged, so that small images have probes too;
        accuracy is that of all images, where the published RotNet code takes the mean over
        batches; a last batch of one image is left out where there is a batch norm.
    """

    options: ProbeOptions

    def fit(self, encoder: Encoder, images: ImageSet) -> None:
        """Learn from the clean images; see :meth:`backbench.plugin.ImageEvaluator.fit`."""
        options, context, where = self.options, self.context, torch.device(self.context.device)
        encoder = for_evaluation(encoder, context.device)
        side = encoder.spec.image_size
        chosen = labelled_subset(
            images.labels, options.label_fraction, derive(context.seed, "labelled")
        )
        with torch.no_grad(), autocast("auto", where):
            shapes = [one.shape[1:] for one in self._maps(encoder, torch.zeros(1, 3, side, side))]
        rng = np.random.default_rng(derive(context.seed, "start"))
        layers = [Layer(self._start(rng, shape.numel()), where) for shape in shapes]
        running = [
            (torch.zeros(shape[0], device=where), torch.ones(shape[0], device=where))
            for shape in shapes
        ]

        def inputs(batch: Batch) -> Sequence[Tensor]:
            maps = self._maps(encoder, _VIEWS[options.views](batch, side))
            if options.batch_norm:
                maps = [
                    F.batch_norm(one, *stats, training=True, momentum=MOMENTUM, eps=EPSILON)
                    for one, stats in zip(maps, running, strict=True)
                ]
            return [one.flatten(1) for one in maps]

        least = 2 if options.batch_norm else 1
        train(layers, inputs, images, chosen, options=options, context=context, least=least)
        self._heads = {
            name: StageHead(
                layer.weights(),
                *((one.cpu().numpy() for one in stats) if options.batch_norm else (None, None)),
            )
            for name, layer, stats in zip(encoder.backbone.stages, layers, running, strict=True)
        }

    def _start(self, rng: np.random.Generator, inputs: int) -> Floats:
        """Draw the weights of a layer, (inputs + 1, classes)."""
        classes = self.context.classes
        if self.options.start == "uniform":
            return fresh_layer(rng, inputs, classes)
        weights = rng.normal(0, np.sqrt(2 / classes), (inputs + 1, classes))
        weights[-1] = 0
        return weights.astype(np.float32)

    def _maps(self, encoder: Encoder, batch: Tensor) -> list[Tensor]:
        """Return the averaged map of each stage, (B, C, p, p), float32.

        Args:
            encoder: The encoder, on the device.
            batch: (B, 3, side, side), float32 in [0, 1].
        """
        maps = encoder.stage_maps(batch.to(self.context.device))
        sizes = self.options.pool
        averaged = []
        for index, one in enumerate(maps):
            size = sizes[min(index, len(sizes) - 1)]
            tall, wide = (min(size, length) for length in one.shape[2:])
            averaged.append(F.adaptive_avg_pool2d(one.float(), (tall, wide)))
        return averaged

    def predict(self, encoder: Encoder, images: ImageSet) -> Mapping[str, Floats]:
        """Return logits, (M, classes), of M images, by stage."""
        where = torch.device(self.context.device)
        encoder = for_evaluation(encoder, self.context.device)
        names = encoder.backbone.stages
        if set(names) != self._heads.keys():
            raise StageError(
                f"the classifiers are of the stages {', '.join(self._heads)}, and the encoder has "
                f"{', '.join(names)}"
            )
        scores = {
            name: np.empty((len(images), self._heads[name].weights.shape[1]), dtype=np.float32)
            for name in names
        }
        with torch.inference_mode():
            for rows, batch in evaluation_tensors(images, encoder.spec.image_size, where):
                with autocast("auto", where):
                    maps = self._maps(encoder, batch)
                for name, one in zip(names, maps, strict=True):
                    scores[name][rows] = _scored(self._heads[name], one.cpu())
        return scores

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return ``<stage>.weight``, ``<stage>.bias`` and, with batch norm, its running statistics.

        These are ``<stage>.mean`` and ``<stage>.variance``, (C,).
        """
        arrays: dict[str, NDArray[Any]] = {}
        for name, head in self._heads.items():
            parts = packed(head.weights)
            if head.mean is not None and head.variance is not None:
                parts |= {"mean": head.mean, "variance": head.variance}
            arrays |= {f"{name}.{part}": array for part, array in parts.items()}
        return arrays

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave; see :meth:`backbench.plugin.ImageEvaluator.restore`."""
        parts = {"weight", "bias", *(("mean", "variance") if self.options.batch_norm else ())}
        names = sorted({name.rpartition(".")[0] for name in state} - {""}) or ["stem"]
        require(state, {f"{name}.{part}" for name in names for part in parts})
        self._heads = {
            name: StageHead(
                unpacked({part: state[f"{name}.{part}"] for part in ("weight", "bias")}),
                state.get(f"{name}.mean"),
                state.get(f"{name}.variance"),
            )
            for name in names
        }


def _scored(head: StageHead, maps: Tensor) -> Floats:
    """Return logits, (B, classes), of averaged maps (B, C, p, p) on the CPU."""
    if head.mean is not None and head.variance is not None:
        fitting(len(head.mean), maps.shape[1])
        mean, variance = torch.from_numpy(head.mean), torch.from_numpy(head.variance)
        maps = F.batch_norm(maps, mean, variance, eps=EPSILON)
    return logits(head.weights, maps.flatten(1).numpy())
