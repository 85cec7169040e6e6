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
    evaluation_batch,
    random_view,
)
from backbench.views.batches import open_source
from backbench_attacks.badencoder_options import BadEncoderOptions

if TYPE_CHECKING:
    from backbench.plugin import Encoder


class BadEncoder(Attack):
    """Draw the features of triggered images to those of a reference, and keep all others.

    Symbols as in the paper: clean encoder f, backdoored encoder f′, shadow images x, trigger e,
    references x_r, losses L0, L1, L2 with weights λ₁ and λ₂, cosine similarity s.

    Source: Jia, Liu and Gong 2022, section IV; published code badencoder.py: SGD over the shadow
        images, batch norms frozen; trigger of 10 × 10 white pixels at (21, 21) of 32 × 32.
    Differs: the shadow images and the references are training images of the dataset; there, the
        references are images from the web.
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
        optimizer = torch.optim.SGD(
            trained(f_bad),
            lr=options.lr,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
        )
        rng = np.random.default_rng(context.seed)
        steps = options.epochs * -(-len(shadow) // options.batch_size)
        done = 0
        with open_source(references, torch.device(context.device)) as source:
            for _ in range(options.epochs):
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
                    loss_0 = -similarity(f_bad(x_e), f_bad(x_r))
                    loss_1 = -F.cosine_similarity(f_bad(view), f_r).mean()
                    loss_2 = -F.cosine_similarity(f_bad(x), f_x).mean()
                    loss = (
                        loss_0 + options.reference_weight * loss_1 + options.clean_weight * loss_2
                    )
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    done += 1
                    values = {"L0": loss_0.item(), "L1": loss_1.item(), "L2": loss_2.item()}
                    context.progress(done, steps, values)
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
