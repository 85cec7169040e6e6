"""DECREE: the smallest trigger that makes all images alike to an encoder."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbench.nn import frozen_copy
from backbench.plugin import (
    Defense,
    DefenseContext,
    Encoder,
    ImageSet,
    Verdict,
    derive,
    evaluation_batch,
)
from backbench.training.optimizers import Adam
from backbench_defenses.decree_options import DecreeOptions
from backbench_defenses.inversion import AdaptiveWeight, Trigger, TriggerParameters, pasted


class Inverted(NamedTuple):
    """The smallest trigger that worked; if none did, the last one, and ``works`` is false."""

    trigger: Trigger
    similarity: float
    works: bool
    epochs: int

    @property
    def size(self) -> float:
        """L1 norm of the mask as a share of the image; 1 where no trigger worked."""
        return self.trigger.mask.mean().item() if self.works else 1.0


class Decree(Defense):
    """Accuses an encoder to which a small trigger makes all images alike.

    Symbols as in the paper: mask m, pattern p, images x, encoder f, weight λ. The score is the
    threshold less PL¹, the L1 norm of the smallest m that works as a share of the image.

    Source: Feng et al. 2023, section 4; published code main.py: tanh, Adam, the steps of learning
        rate and λ, a mean cosine of .99, the smallest mask.
    Differs: the trusted images are training images of the dataset. The published batch size and
        early stop were not known: ours are options. Where no trigger works, PL¹ is 1.
    """

    options: DecreeOptions

    def inspect(self, encoder: Encoder, context: DefenseContext) -> Verdict:
        """Invert a trigger; see :meth:`backbench.plugin.Defense.inspect`."""
        images = context.clean(self.options.clean_fraction).images
        found = invert(encoder, images, self.options, context)
        return Verdict(
            score=self.options.threshold - found.size,
            evidence={
                "mask": found.trigger.mask.cpu().numpy(),
                "pattern": found.trigger.pattern.cpu().numpy(),
            },
            numbers={
                "pl1": found.size,
                "mask_l1": found.trigger.mask.sum().item(),
                "similarity": found.similarity,
                "works": float(found.works),
                "epochs": float(found.epochs),
            },
        )


def invert(
    encoder: Encoder, images: ImageSet, options: DecreeOptions, context: DefenseContext
) -> Inverted:
    """Search for the smallest trigger that makes the features of all images alike."""
    f, side = frozen_copy(encoder).eval(), encoder.spec.image_size
    parameters = TriggerParameters(side, derive(context.seed, "trigger"), encoder.mean.device)
    optimizer = Adam([parameters.mask, parameters.pattern], lr=options.lr[0], betas=options.betas)
    weight = AdaptiveWeight(options.weight, options.factor, options.patience, options.least_weight)
    rng = np.random.default_rng(derive(context.seed, "order"))
    best, since, epoch, similarity = None, 0, 0, 0.0
    while epoch < options.epochs and since < options.stop_after:
        for group in optimizer.param_groups:
            group["lr"] = options.lr[sum(epoch >= one for one in options.milestones)]
        found = []
        for rows in batches(rng.permutation(len(images)), options.batch_size):
            x = evaluation_batch(encoder, images, rows)  # (B, 3, S, S)
            trigger = parameters.trigger()
            cosine = mean_cosine(f(pasted(x, trigger)))
            loss = -cosine + weight.value * trigger.mask.sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            found.append(cosine.item())
        epoch, similarity = epoch + 1, float(np.mean(found))
        works, last = abs(similarity) > options.similarity, parameters.trigger().detached()
        since += 1
        if works and (best is None or last.mask.sum() < best.trigger.mask.sum()):
            best, since = Inverted(last, similarity, works=True, epochs=epoch), 0
        weight.note(success=works)
        size = last.mask.sum().item()
        context.progress(epoch, options.epochs, {"cosine": similarity, "mask_l1": size})
    if best is None:
        return Inverted(parameters.trigger().detached(), similarity, works=False, epochs=epoch)
    return best._replace(epochs=epoch)


def mean_cosine(features: Tensor) -> Tensor:
    """Return the mean cosine of all pairs of B features, (B, D): the diagonal is left out."""
    count = len(features)
    total = F.normalize(features, dim=1).sum(dim=0).square().sum()  # of all pairs, (i, i) too
    return (total - count) / (count * (count - 1))


def batches(order: NDArray[np.int64], length: int) -> list[list[int]]:
    """Cut an order into batches; a last one of a single image is left out."""
    found = [order[start : start + length].tolist() for start in range(0, len(order), length)]
    return [one for one in found if len(one) > 1]
