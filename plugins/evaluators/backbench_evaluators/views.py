"""A linear probe on views of images: ``linear-augmented``, ``linear-cached``, ``layer-probe``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbench.images import ImageSet
from backbench.nn import Encoder
from backbench.plugin import EvaluationContext, ImageEvaluator, Scores
from backbench.seeds import derive
from backbench.training.device import autocast
from backbench.training.extraction import for_evaluation
from backbench.views.batches import open_source
from backbench_evaluators.crops import INTERVAL_S, views
from backbench_evaluators.evaluator_options import CachedOptions, FrozenOptions, ProbeOptions
from backbench_evaluators.feature_sets import Floats, labelled_subset
from backbench_evaluators.inputs import FeatureInputs, Inputs, StageInputs
from backbench_evaluators.optimizers import SGD


class ViewProbe(ImageEvaluator):
    """Linear classifiers on random crops of the labelled images, seen by the frozen encoder.

    The options say what the classifiers read, features or the maps of all stages
    (:class:`ProbeOptions`), and whether an epoch sees fresh crops or, in turn, a few crops whose
    features are computed once (:class:`CachedOptions`). The features of V cached crops of N images
    take 4 · V · N · D bytes; with as many crops as epochs all are fresh.

    Source: published code moco/eval_linear.py: torch's own start, SGD .01, momentum .9, weight
        decay 1e-4, batch 256, 40 epochs, a tenth at 15 and 30, RandomResizedCrop and flip, the
        backbone in evaluation mode, no batch dropped; of stages, see :class:`StageInputs`.
    Differs: the classifier of the last epoch is used, the published code also keeps the one that
        is best on the validation images. ``linear-cached``: V crops of each image instead of 40.
    """

    options: FrozenOptions

    def __init__(self, options: FrozenOptions, context: EvaluationContext) -> None:
        super().__init__(options, context)
        self._inputs: Inputs = (
            StageInputs(options, context)
            if isinstance(options, ProbeOptions)
            else FeatureInputs(context)
        )

    def fit(self, encoder: Encoder, images: ImageSet) -> None:
        """Learn from the clean images; see :meth:`backbench.plugin.ImageEvaluator.fit`."""
        options, context, inputs = self.options, self.context, self._inputs
        encoder = for_evaluation(encoder, context.device)
        chosen = labelled_subset(
            images.labels, options.label_fraction, derive(context.seed, "labelled")
        )
        rng = np.random.default_rng(derive(context.seed, "start"))
        start = inputs.start(encoder, images, chosen, rng)
        if isinstance(options, CachedOptions) and isinstance(inputs, FeatureInputs):
            count = min(options.views, options.epochs)
            features = views(encoder, images, chosen, count, context=context)
            for one in features:
                one[:] = inputs.normalized(one)
            learn_in_turn(start[0], features, images.labels[chosen], options, context)
            inputs.finish(start)
            return
        layers = [Layer(weights, torch.device(context.device)) for weights in start]
        train(layers, encoder, inputs, images, chosen, options=options, context=context)
        inputs.finish([layer.weights() for layer in layers])

    def predict(self, encoder: Encoder, images: ImageSet) -> Scores:
        """Return logits, (M, classes), of M images; of stages, those of each stage."""
        return self._inputs.scores(for_evaluation(encoder, self.context.device), images)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the classifiers' arrays; see :class:`FeatureInputs` and :class:`StageInputs`."""
        return self._inputs.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave; see :meth:`backbench.plugin.ImageEvaluator.restore`."""
        self._inputs.restore(state)


def learn_in_turn(
    weights: Floats,
    features: Floats,
    labels: NDArray[np.int64],
    options: FrozenOptions,
    context: EvaluationContext,
) -> None:
    """Train a classifier on several sets of features, each epoch on the next."""
    sgd = SGD(weights, options.momentum, options.weight_decay, nesterov=options.nesterov)
    for epoch in range(options.epochs):
        lr = options.learning_rate(epoch)
        order = np.random.default_rng(derive(context.seed, "order", epoch)).permutation(len(labels))
        loss = sgd.epoch(features[epoch % len(features)], labels, order, options.batch_size, lr)
        context.progress(epoch + 1, options.epochs, {"loss": loss, "lr": lr})


class Layer:
    """A linear layer on a device."""

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
    encoder: Encoder,
    inputs: Inputs,
    images: ImageSet,
    chosen: NDArray[np.int64],
    *,
    options: FrozenOptions,
    context: EvaluationContext,
) -> None:
    """Minimize the sum of the layers' cross-entropies.

    Every batch is of a fresh permutation; the last one of an epoch may be smaller.
    """
    where = torch.device(context.device)
    labels = torch.tensor(images.labels, device=where)
    optimizer = torch.optim.SGD(
        [part for layer in layers for part in (layer.weight, layer.bias)],
        lr=options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=options.nesterov,
    )
    seed = derive(context.seed, "views")
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
            for batch in source.batches(order, options.batch_size, epoch=epoch, seed=seed):
                if len(batch) < inputs.least:
                    continue
                with torch.no_grad(), autocast("auto", where):
                    seen = inputs.read(encoder, batch)
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
                if time.monotonic() - reported > INTERVAL_S:
                    passed = epoch * len(order) + done
                    context.progress(passed, options.epochs * len(order), {})
                    reported = time.monotonic()
            values = {"loss": float(total) / max(done, 1), "lr": lr}
            context.progress((epoch + 1) * len(order), options.epochs * len(order), values)
