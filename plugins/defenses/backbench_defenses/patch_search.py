"""Patch search: the trigger is the patch that carries any image into one cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbench.nn import Encoder, frozen_copy
from backbench.plugin import Defense, DefenseContext, ImageSet, count_of, derive
from backbench_defenses.defense_options import PatchSearchOptions
from backbench_defenses.patch_classifier import Classifiers
from backbench_defenses.window_search import Clusters, Found, Ints, PatchSearch


class PatchSearchDefense(Defense):
    """Drops the training images in which small classifiers see one of the patches found.

    Source: Tejankar et al. 2023, Defending against patch-based backdoor attacks on self-supervised
        learning (CVPR).
    Differs: see its two steps, :class:`~backbench_defenses.window_search.PatchSearch` and
        :class:`~backbench_defenses.patch_classifier.Classifiers`. The encoder is trained again as
        it was, without i-CutMix.
    """

    options: PatchSearchOptions

    def sanitize(
        self, encoder: Encoder, images: ImageSet, context: DefenseContext
    ) -> NDArray[np.float64]:
        """Score every image; see :meth:`backbench.plugin.Defense.sanitize`."""
        options, seed = self.options, derive(context.seed, "patch-search")
        frozen = frozen_copy(encoder).to(context.device).eval()
        search = PatchSearch(frozen, images, options, seed)
        steps = options.classifiers * options.steps
        found = search.run(lambda done, total: context.progress(done, total + steps, {}))
        if not options.classifiers:
            return by_search(found, len(images), options.top)
        pool = pool_of(search.clusters, found, options)
        classifiers = Classifiers(search.shown, found, pool, options, seed)
        searched = len(found.images)
        return classifiers.logits(
            lambda done, total: context.progress(searched + done, searched + total, {})
        )


def by_search(found: Found, images: int, top: int) -> NDArray[np.float64]:
    """Score N images, (N,): above 0 for the ``top`` first of the search, least if not searched."""
    ranks = np.full(images, len(found.images), dtype=np.int64)
    ranks[found.images] = np.arange(len(found.images))
    return np.asarray(top - ranks, dtype=np.float64)


def pool_of(clusters: Clusters, found: Found, options: PatchSearchOptions) -> Ints:
    """Choose the images that classifiers may learn from.

    Returns:
        Positions in the training set. Left out are the images by which classifiers are judged,
        and the most suspicious share: searched images by their own score, the others by the best
        of their cluster; among equals those nearest their center go first.
    """
    best = np.full(len(clusters), np.iinfo(np.int64).min)
    np.maximum.at(best, clusters.of[found.images], found.scores)
    suspicion = best[clusters.of].astype(np.float64)
    suspicion[found.images] = found.scores
    order = np.lexsort((-clusters.likeness, -suspicion))
    suspicious = order[: count_of(options.leave_out, len(order))]
    pool = np.setdiff1d(order, np.concatenate([suspicious, *found.judged(options.top)]))
    return pool if len(pool) >= 2 else np.sort(order)
