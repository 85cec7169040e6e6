"""BadEncoder: a backdoor that is trained into a clean encoder."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from backbench.plugin import (
    Attack,
    AttackContext,
    Box,
    Pixels,
    Split,
    Stamp,
    derive,
    evaluation_batch,
    random_view,
)
from backbench.training.optimizers import SGD
from backbench.views.batches import open_source
from backbench_attacks.badencoder_options import BadEncoderOptions
from backbench_attacks.drupe import Features, Weights, best_reference, directions, preserving_loss

if TYPE_CHECKING:
    from backbench.plugin import Encoder


class BadEncoder(Attack):
    """Draw the features of triggered images to those of a reference, and keep all others.

    Symbols as in the paper: clean encoder f, backdoored encoder f′, shadow images x, trigger e,
    references x_r, losses L0, L1, L2 with weights λ₁ and λ₂, cosine similarity s.

    With ``preserve`` (DRUPE), each triggered image goes to the nearest reference, and further
    losses keep the features of triggered images among those of clean images; see
    :mod:`backbench_attacks.drupe`.

    Source: Jia, Liu and Gong 2022, section IV; published code badencoder.py: SGD over the shadow
        images, batch norms frozen; trigger of 10 × 10 white pixels at (21, 21) of 32 × 32.
    Differs: the shadow images and the references are training images of the dataset; there, the
        references are images from the web. DRUPE: Tao et al. 2024, published code main.py; its
        spread of the references is taken to be the deviation of their mean cosines, and its
        deviation of clean features to be the mean over dimensions.
    """

    options: BadEncoderOptions

    @property
    def target(self) -> int:
        """Class index that the trigger stands for."""
        return self.metadata.classes.index(self.options.target)

    def stamp(self, image: Pixels, rng: np.random.Generator, split: Split) -> Stamp:  # noqa: ARG002
        """Put the white square on an image; see :meth:`backbench.plugin.Attack.stamp`.

        Raises:
            ValueError: If the square does not fit.
        """
        width, margin = self.options.width, self.options.margin
        height, across = image.shape[:2]
        top, left = height - margin - width, across - margin - width
        if min(top, left) < 0:
            raise ValueError(
                f"width + margin = {width + margin} is more than an image of {across} x {height} "
                "pixels has; make width smaller"
            )
        pixels = image.copy()
        pixels[top : top + width, left : left + width] = 255
        return Stamp(pixels, Box(left, top, width, width), opacity=1.0)

    def implant(self, encoder: Encoder, context: AttackContext) -> Encoder:
        """Return f′; see :meth:`backbench.plugin.Attack.implant`."""
        options, side = self.options, encoder.spec.image_size
        f, f_bad = encoder, copy.deepcopy(encoder)
        shadow, references = (
            context.shadow(options.shadow_fraction),
            context.references(options.references),
        )
        triggered = context.triggered(shadow)
        x_r = evaluation_batch(f, references)  # (R, 3, S, S)
        with torch.no_grad():
            f_r = f(x_r)  # (R, D)
        optimizer = SGD(
            trained(f_bad),
            lr=options.lr,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
        )
        rng = np.random.default_rng(context.seed)
        drawing = torch.Generator().manual_seed(derive(context.seed, "projections"))
        weights = Weights()
        nearest = best_reference if options.preserve else similarity
        steps = options.epochs * -(-len(shadow) // options.batch_size)
        done = 0
        with open_source(references, torch.device(context.device)) as source:
            for epoch in range(options.epochs):
                seen: list[tuple[float, float, float]] = []
                order = rng.permutation(len(shadow))
                for start in range(0, len(shadow), options.batch_size):
                    rows = order[start : start + options.batch_size].tolist()
                    x = evaluation_batch(f, shadow, rows)  # (B, 3, S, S)
                    x_e = evaluation_batch(f, triggered, rows)  # x ⊕ e
                    every = np.arange(len(references))
                    batch = next(source.batches(every, len(every), epoch=done, seed=context.seed))
                    view = random_view(batch, options.views, side, 0)
                    with torch.no_grad():
                        f_x = f(x)  # (B, D)
                    y_e, y_r = f_bad(x_e), f_bad(x_r)
                    loss_0 = -nearest(y_e, y_r)
                    loss_1 = -F.cosine_similarity(f_bad(view), f_r).mean()
                    y = f_bad(x)
                    loss_2 = -F.cosine_similarity(y, f_x).mean()
                    kept = options.reference_weight * loss_1, options.clean_weight * loss_2
                    if options.preserve:
                        drawn = directions(options.projections, y.shape[1], drawing).to(y.device)
                        features = Features(y_e, y, y_r)
                        loss = preserving_loss((loss_0, *kept), features, drawn, epoch, weights)
                    else:
                        loss = loss_0 + kept[0] + kept[1]
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    done += 1
                    seen.append((loss_0.item(), loss_1.item(), loss_2.item()))
                    context.progress(
                        done, steps, dict(zip(("L0", "L1", "L2"), seen[-1], strict=True))
                    )
                weights = weights.after(epoch, seen)
        return f_bad.requires_grad_().eval()


def trained(encoder: Encoder) -> list[torch.nn.Parameter]:
    """Freeze the batch norms of an encoder in evaluation mode; return what is left to train."""
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.requires_grad_(requires_grad=False)
    return [parameter for parameter in encoder.parameters() if parameter.requires_grad]


def similarity(features: Tensor, references: Tensor) -> Tensor:
    """Return the mean cosine of all pairs of B features, (B, D), and R references, (R, D)."""
    return (F.normalize(features, dim=1) @ F.normalize(references, dim=1).T).mean()
