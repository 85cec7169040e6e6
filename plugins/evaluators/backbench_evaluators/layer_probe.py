"""Linear probes on the maps of an encoder's stages: ``layer-probe``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbench.nn import Batch, Encoder
from backbench.plugin import EvaluationContext, ImageSet, StageError
from backbench.training.device import autocast
from backbench.training.extraction import evaluation_tensors, for_evaluation
from backbench_evaluators.classifiers import (
    EPSILON,
    Floats,
    Ints,
    fitting,
    fresh_layer,
    logits,
    packed,
    require,
    unpacked,
)
from backbench_evaluators.crops import ViewProbe, crop, resized_crop
from backbench_evaluators.evaluator_options import ProbeOptions

#: Share of a batch in the running mean and variance of a batch norm: torch's own.
MOMENTUM = 0.1

_VIEWS = {"resized-crop": resized_crop, "crop": crop}


@dataclass(frozen=True, slots=True)
class StageClassifier:
    """A linear layer on the averaged map of one stage.

    Args:
        weights: (C · p · p + 1, classes), the last row the bias.
        mean: Running mean of the channels, (C,); ``None`` without batch norm.
        variance: Their running variance, (C,).
    """

    weights: Floats
    mean: Floats | None = None
    variance: Floats | None = None

    def __call__(self, maps: Tensor) -> Floats:
        """Return logits, (B, classes), of averaged maps (B, C, p, p) on the CPU."""
        if self.mean is not None and self.variance is not None:
            fitting(len(self.mean), maps.shape[1])
            mean, variance = torch.from_numpy(self.mean), torch.from_numpy(self.variance)
            maps = F.batch_norm(maps, mean, variance, eps=EPSILON)
        return logits(self.weights, maps.flatten(1).numpy())

    def state(self) -> dict[str, Floats]:
        """Return ``weight``, ``bias`` and, with batch norm, ``mean`` and ``variance``, (C,)."""
        if self.mean is None or self.variance is None:
            return packed(self.weights)
        return {**packed(self.weights), "mean": self.mean, "variance": self.variance}


class StageProbe(ViewProbe):
    """A linear classifier on the map of each stage, each of which is a variant.

    The maps are those after the stem's ReLU and after each stage; they are averaged to a few
    pixels, flattened, and classified.

    Source: published code jigsaw/eval_conv_linear.py and the linear configurations of rotnet,
        on the five maps of a ResNet-18: pooled to 12², 12², 8², 6², 4², inputs
        9216, 9216, 8192, 9216, 8192.
    Differs: maps smaller than that are not enlarged, so that small images have probes too;
        accuracy is that of all images, where the published RotNet code takes the mean over
        batches; a last batch of one image is left out where there is a batch norm.
    """

    options: ProbeOptions

    def __init__(self, options: ProbeOptions, context: EvaluationContext) -> None:
        super().__init__(options, context)
        self._where = torch.device(context.device)
        self.least = 2 if options.batch_norm else 1

    def start(
        self,
        encoder: Encoder,
        images: ImageSet,  # noqa: ARG002 - only the maps' shapes count
        chosen: Ints,  # noqa: ARG002
        rng: np.random.Generator,
    ) -> list[Floats]:
        """Draw the weights of each stage's classifier; see :meth:`ViewProbe.start`."""
        side, where = encoder.spec.image_size, self._where
        with torch.no_grad(), autocast("auto", where):
            shapes = [one.shape[1:] for one in self._maps(encoder, torch.zeros(1, 3, side, side))]
        self._names = encoder.backbone.stages
        self._running = [
            (torch.zeros(shape[0], device=where), torch.ones(shape[0], device=where))
            for shape in shapes
        ]
        return [self._drawn(rng, shape.numel()) for shape in shapes]

    def _drawn(self, rng: np.random.Generator, inputs: int) -> Floats:
        classes = self.context.classes
        if self.options.start == "uniform":
            return fresh_layer(rng, inputs, classes)
        weights = rng.normal(0, np.sqrt(2 / classes), (inputs + 1, classes))
        weights[-1] = 0
        return weights.astype(np.float32)

    def read(self, encoder: Encoder, batch: Batch) -> Sequence[Tensor]:
        """Return the averaged maps of a random crop of each image, flattened."""
        maps = self._maps(encoder, _VIEWS[self.options.views](batch, encoder.spec.image_size))
        if self.options.batch_norm:
            maps = [
                F.batch_norm(one, *stats, training=True, momentum=MOMENTUM, eps=EPSILON)
                for one, stats in zip(maps, self._running, strict=True)
            ]
        return [one.flatten(1) for one in maps]

    def _maps(self, encoder: Encoder, batch: Tensor) -> list[Tensor]:
        """Return the averaged map of each stage, (B, C, p, p), of images (B, 3, side, side)."""
        averaged, sizes = [], self.options.pool
        for index, one in enumerate(encoder.stage_maps(batch.to(self._where))):
            size = sizes[min(index, len(sizes) - 1)]
            tall, wide = (min(size, length) for length in one.shape[2:])
            averaged.append(F.adaptive_avg_pool2d(one.float(), (tall, wide)))
        return averaged

    def finish(self, weights: Sequence[Floats]) -> None:
        """Keep the classifiers with their weights and running statistics after all epochs."""
        self._classifiers = {
            name: StageClassifier(
                one, *(part.cpu().numpy() for part in stats if self.options.batch_norm)
            )
            for name, one, stats in zip(self._names, weights, self._running, strict=True)
        }

    def predict(self, encoder: Encoder, images: ImageSet) -> Mapping[str, Floats]:
        """Return logits, (M, classes), of M whole images, by stage."""
        encoder = for_evaluation(encoder, self.context.device)
        names = encoder.backbone.stages
        if set(names) != self._classifiers.keys():
            raise StageError(
                f"the classifiers are of the stages {', '.join(self._classifiers)}, and the "
                f"encoder has {', '.join(names)}"
            )
        scores: dict[str, list[Floats]] = {name: [] for name in names}
        with torch.inference_mode():
            for _, batch in evaluation_tensors(images, encoder.spec.image_size, self._where):
                with autocast("auto", self._where):
                    maps = self._maps(encoder, batch)
                for name, one in zip(names, maps, strict=True):
                    scores[name].append(self._classifiers[name](one.cpu()))
        return {name: np.concatenate(parts) for name, parts in scores.items()}

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return ``<stage>.weight``, …; see :meth:`StageClassifier.state`."""
        return {
            f"{name}.{part}": array
            for name, one in self._classifiers.items()
            for part, array in one.state().items()
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave."""
        parts = {"weight", "bias", *(("mean", "variance") if self.options.batch_norm else ())}
        names = sorted({name.rpartition(".")[0] for name in state} - {""}) or ["stem"]
        require(state, {f"{name}.{part}" for name in names for part in parts})
        self._classifiers = {
            name: StageClassifier(
                unpacked({part: state[f"{name}.{part}"] for part in ("weight", "bias")}),
                state.get(f"{name}.mean"),
                state.get(f"{name}.variance"),
            )
            for name in names
        }
