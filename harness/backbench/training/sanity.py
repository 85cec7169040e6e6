"""Sanity checks of a training: signs that it has gone wrong, not only that it is slow. No torch.

Two things stop a training, in :mod:`backbench.training.loop`, since nothing that is counted of
its encoder would mean anything: a loss or features that are not finite, at any epoch; and features
that are equal for all images to within rounding (:func:`is_constant`), at the end of an epoch
that lies wholly after the warm-up, or of the last one. Which neighbors are the nearest among equal
features is decided by the rounding errors of a device, so that such numbers could not even be
made again.

Two things flag an encoder and leave its numbers, since they do mean something: features along
fewer than two directions, and a k-NN probe that chance explains. Both are judged at the training's
end, where early epochs do not matter.

docs/reference/sanity-checks.md has the values of healthy trainings, far from these bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from backbench.store.flags import Flag

#: Features of unit length that differ by rounding alone spread at most as far as numbers are
#: rounded: √D · mean of the entries' deviations ≤ eps · √D · mean |entry| ≤ eps. This is the eps of
#: bf16, the coarsest arithmetic in which features are computed.
ROUNDING = 2.0**-7

#: As many equal directions have this effective rank; features of less have not even two.
TWO_DIRECTIONS = 2.0

#: Share of probes at chance that may pass for others, and share of probes that find half of
#: the bits that separate classes may fail.
LEVEL = 0.01


def is_constant(spread: float, images: int) -> bool:
    """Return whether features of this spread are equal for all images, but for rounding."""
    return images > 1 and spread <= ROUNDING


def training_flags(
    history: Sequence[Mapping[str, float]], held_out: NDArray[np.int64]
) -> Iterator[Flag]:
    """Yield the flags of a trained encoder; ``held_out`` are the classes of the k-NN queries."""
    if not history:
        return
    last = history[-1]
    rank = last.get("effective_rank", math.inf)
    if rank < TWO_DIRECTIONS:
        yield Flag(
            "rank-collapse",
            f"the features differ along fewer than two directions (effective rank {rank:.2f}, "
            f"feature spread {last['feature_spread']:.3g}): most of what images differ in is "
            "lost; lower the learning rate, or change what keeps the method from collapsing "
            "(queue, predictor, momentum, batch size)",
        )
    if "knn_accuracy" not in last or len(held_out) == 0:
        return
    hits, usual = round(last["knn_accuracy"] * len(held_out)), int(np.bincount(held_out).max())
    least = above_chance(len(held_out), usual / len(held_out))
    if least is not None and hits < least:
        yield Flag(
            "probe-at-chance",
            f"k-NN finds the class of {hits} of {len(held_out)} held-out training images; always "
            f"naming their most frequent class finds {usual}, and below {least} chance explains it "
            f"(binomial test, {100 * LEVEL:g} %): nothing shows that classes have been learned; "
            "train longer, choose another learning rate, or see whether the labels are right",
        )


def above_chance(images: int, chance: float) -> int | None:
    """Return the least number of right answers on images that chance does not explain.

    That is the least number that ``chance``, the share of the most frequent class, reaches with a
    probability of at most ``LEVEL``. ``None`` if there are too few images: if a probe that is right
    in a share √chance, which is half of the bits of the class, would miss that number with more
    than this probability.

    Source: the one-sided binomial test against the no-information rate, as in R's caret.
    """
    from scipy.special import bdtr, bdtrc  # scipy.stats, which has a name for it, is slow to import

    explained = bdtrc(np.arange(images + 1), images, chance) > LEVEL  # more right answers than this
    least = int(explained.argmin()) + 1
    missed = bdtr(least - 1, images, math.sqrt(chance))
    return least if missed <= LEVEL else None
