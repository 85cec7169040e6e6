"""i-CutMix: a box of another image's view in each view, and a loss that is mixed likewise."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backbench.nn import GuardedMethod, SSLMethod, send
from backbench.plugin import Batch, Box, Defense, DefenseContext, derive
from backbench_defenses.defense_options import CutMixOptions
from backbench_defenses.wrapping import two_views


class CutMix(Defense):
    """Trains on first views that have a box of another image's first view.

    Symbols as in the paper: λ is the share of the area that a view keeps, drawn from Beta(α, α).

    Source: Yun et al. 2019, CutMix, section 3.1 and algorithm 1 (λ and the box); Lee et al. 2021,
        i-Mix, section 3 (the mixed loss of a contrastive method); Tejankar et al. 2023, PatchSearch
        (i-CutMix against backdoors, α = 1).
    Differs: the whole loss of the method is computed twice, against the second views of the images
        and of their partners, and weighted by λ and 1 − λ. So it fits each method on two views, at
        twice the cost; statistics of batch norms move twice a step, and the symmetric losses of
        BYOL and SimSiam predict the mixed view as well. Whether PatchSearch mixes both views is
        unverified; here it is the first.
    """

    options: CutMixOptions

    def guard(self, method: SSLMethod, context: DefenseContext) -> SSLMethod:  # noqa: ARG002
        """Return the method on mixed views; see :meth:`backbench.plugin.Defense.guard`."""
        return CutMixed(method, self.options.alpha)


class Mixed(NamedTuple):
    """Views of B images of which the first are mixed.

    Args:
        first: First views, each with a box of its partner's, (B, 3, S, S).
        second: Second views, (B, 3, S, S).
        partners: Position of each image's partner in the batch, (B,), int64.
        share: λ, a scalar, float32.
    """

    first: Tensor
    second: Tensor
    partners: Tensor
    share: Tensor


class CutMixed(GuardedMethod):
    """A method on two views that is trained with i-CutMix; ``alpha`` is α."""

    def __init__(self, method: SSLMethod, alpha: float) -> None:
        super().__init__(two_views(method))
        self.alpha = alpha

    def views(self, batch: Batch) -> Mixed:
        """Return the method's views, the first ones mixed; the same for the same batch."""
        first, second = self.method.views(batch)
        seed = derive(batch.seed, "cutmix", batch.epoch, int(batch.indices[0]))
        rng = np.random.default_rng(seed)
        partners = send(rng.permutation(len(batch)), first.device)
        side = first.shape[-1]
        box = cut_box(rng, side, self.alpha)
        share = torch.full((), kept_share(box, side), device=first.device)
        return Mixed(paste(first, first[partners], box), second, partners, share)

    def training_loss(self, views: Mixed) -> Tensor:
        """Return λ × the loss with the own second views + (1 − λ) × that with the partners'."""
        first, second, partners, share = views
        # The own pairs come last: they are what a method keeps of the step, as MoCo its keys.
        theirs = self.method.training_loss((first, second[partners]))
        own = self.method.training_loss((first, second))
        return share * own + (1 - share) * theirs


def cut_box(rng: np.random.Generator, side: int, alpha: float) -> Box:
    """Draw the box that is cut out of views of a side in pixels.

    Its sides are √(1 − λ) of the view's, λ from Beta(α, α); its center is anywhere in the view, and
    what leaves the view is cut off.
    """
    half = side * math.sqrt(1 - rng.beta(alpha, alpha)) / 2
    x, y = rng.integers(side, size=2).tolist()
    left, right = (min(max(round(x + one), 0), side) for one in (-half, half))
    top, bottom = (min(max(round(y + one), 0), side) for one in (-half, half))
    return Box(left, top, right - left, bottom - top)


def kept_share(box: Box, side: int) -> float:
    """Return the share of a view's area that lies outside a box, λ."""
    return 1 - box.width * box.height / side**2


def paste(images: Tensor, others: Tensor, box: Box) -> Tensor:
    """Return images, (B, C, S, S), with a box of the others in place of their own."""
    mixed = images.clone()
    rows, columns = slice(box.y, box.y + box.height), slice(box.x, box.x + box.width)
    mixed[:, :, rows, columns] = others[:, :, rows, columns]
    return mixed
