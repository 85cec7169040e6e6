"""SSL-Cleanse: a trigger for each cluster of the features, and fine-tuning against the smallest."""

from __future__ import annotations

import copy
import warnings
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbench.nn import frozen_copy
from backbench.plugin import (
    Batch,
    Defense,
    DefenseContext,
    Encoder,
    ImageSet,
    TrainingContext,
    TrainingTask,
    Verdict,
    derive,
    evaluation_batch,
    extract,
    random_view,
)
from backbench.training.optimizers import Adam
from backbench_defenses.inversion import AdaptiveWeight, Trigger, TriggerParameters, pasted
from backbench_defenses.repairing import repaired
from backbench_defenses.ssl_cleanse_options import CleanseOptions

with warnings.catch_warnings():
    # faiss's generated wrappers lack an attribute that newer Pythons require.
    warnings.simplefilter("ignore", DeprecationWarning)
    import faiss

#: Rounds of k-means and starts of it; least spread of sizes, and least length of features.
_ROUNDS, _STARTS, _LEAST, _TINY = 50, 5, 1e-6, 1e-12

#: Makes the MAD of normal numbers their standard deviation.
_NORMAL = 1.4826

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class SSLCleanse(Defense):
    """Accuses an encoder of one of whose clusters the trigger is much smaller than of the others.

    Symbols as in the paper: clusters K, mask m and pattern Δ of each, images x, weights λ, α₁, α₄.
    The score is the anomaly index of the smallest trigger less the threshold. The repair fine-tunes
    the encoder so that views with the smallest triggers get the features of the views without.

    Source: Zheng et al. 2024, sections 3 and 4; published code detector/core/detector.py: K by a
        knee of the clusters' error, a trigger for each cluster, λ times 1.5, a success of .99, the
        anomaly index.
    Differs: a trigger's size is the mean of m; there, of m Δ, of which a black pattern of pixels in
        [0, 1] has none (one of eight clusters of a clean encoder had size 0 by it). The published
        index scales the MAD twice; ours once, so that 2 means two standard deviations. A trigger
        draws features to the mean of its cluster. The window over the error's curve and the
        learning rates were not known to us. The fine-tuning has two losses, shifts the triggers at
        random, runs whatever the verdict is, and keeps the statistics of batch norms.
    """

    options: CleanseOptions

    def inspect(self, encoder: Encoder, context: DefenseContext) -> Verdict:
        """Invert a trigger for each cluster; see :meth:`backbench.plugin.Defense.inspect`."""
        options = self.options
        images = context.clean(options.clean_fraction).images
        features = unit(extract(encoder, images, device=context.device, precision="fp32"))
        seed = derive(context.seed, "clusters")
        curve = {k: clustered(features, k, seed) for k in range(2, options.most_clusters + 1)}
        errors = np.array([one.error for one in curve.values()])
        chosen = knee(np.array(list(curve)), errors, options.window)
        clusters = curve[chosen].of
        found = [
            invert(encoder, images, Cluster(number, features, clusters == number), options, context)
            for number in range(chosen)
        ]
        sizes = np.array([one.size for one in found])
        index = anomaly_index(sizes)
        return Verdict(
            score=index - options.threshold,
            evidence={
                "masks": np.stack([one.trigger.mask.cpu().numpy() for one in found]),
                "patterns": np.stack([one.trigger.pattern.cpu().numpy() for one in found]),
                "sizes": sizes,
                "errors": errors,
            },
            numbers={
                "anomaly_index": index,
                "clusters": float(chosen),
                "smallest": float(sizes.min()),
                "median": float(np.median(sizes)),
                "works": float(np.mean([one.works for one in found])),
            },
        )

    def repair(self, encoder: Encoder, context: DefenseContext) -> Encoder:
        """Fine-tune against the smallest triggers; see :meth:`backbench.plugin.Defense.repair`."""
        verdict = context.verdict
        if verdict is None:
            raise ValueError("the triggers of an inspection are needed")
        images = context.clean(self.options.clean_fraction).images
        smallest = np.argsort(verdict.evidence["sizes"], kind="stable")[: self.options.triggers]
        masks, patterns = (
            torch.tensor(verdict.evidence[name][smallest]) for name in ("masks", "patterns")
        )

        def build(training: TrainingContext) -> Cleansing:
            return Cleansing(encoder, masks, patterns, self.options, training)

        return repaired(build, self.options, images, encoder, context)


class Clusters(NamedTuple):
    """Cluster of each image, (N,), and the sum of squared distances to the centers."""

    of: Ints
    error: float


class Cluster(NamedTuple):
    """A cluster: its number, all features of unit length, (N, D), and which are in it, (N,)."""

    number: int
    features: Floats
    members: NDArray[np.bool_]


class Inverted(NamedTuple):
    """The smallest trigger of a cluster that worked; if none did, the last one."""

    trigger: Trigger
    works: bool

    @property
    def size(self) -> float:
        """Mean of m."""
        return self.trigger.mask.mean().item()


def unit(features: Floats) -> Floats:
    """Return features, (N, D), of unit length."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.ascontiguousarray(features / np.maximum(length, _TINY), dtype=np.float32)


def clustered(features: Floats, number: int, seed: int) -> Clusters:
    """Group features, (N, D), by k-means; no cluster is empty."""
    kmeans = faiss.Kmeans(
        features.shape[1],
        number,
        niter=_ROUNDS,
        nredo=_STARTS,
        seed=seed % 2**31,
        min_points_per_centroid=1,
        max_points_per_centroid=len(features),
    )
    kmeans.train(features)
    squared, nearest = kmeans.index.search(features, 1)
    return Clusters(nearest[:, 0].astype(np.int64), float(np.maximum(squared, 0).sum()))


def knee(numbers: NDArray[np.int64], errors: NDArray[np.float64], window: int) -> int:
    """Return the number of clusters at the knee of a falling error.

    Args:
        numbers: Numbers of clusters, rising, (M,).
        errors: The error of each, (M,).
        window: Errors that are averaged; a smaller window at both ends.

    Source: Satopaa et al. 2011, Finding a "kneedle" in a haystack: the point farthest above the
        line between both ends, of a curve that is scaled to the unit square.
    """
    half = window // 2
    smooth = np.array(
        [errors[max(0, at - half) : at + half + 1].mean() for at in range(len(errors))]
    )
    x = (numbers - numbers[0]) / (numbers[-1] - numbers[0])
    y = (smooth - smooth.min()) / max(float(np.ptp(smooth)), _TINY)
    return int(numbers[int((1 - y - x).argmax())])


def anomaly_index(sizes: NDArray[np.float64]) -> float:
    """Return how many deviations the smallest size is below the median.

    The deviation is the median absolute deviation, scaled to that of normal numbers.

    Source: Wang et al. 2019, Neural Cleanse, section IV: of the smallest trigger.
    """
    middle = float(np.median(sizes))
    deviation = _NORMAL * float(np.median(np.abs(sizes - middle)))
    return abs(float(sizes.min()) - middle) / max(deviation, _LEAST)


def invert(
    encoder: Encoder,
    images: ImageSet,
    cluster: Cluster,
    options: CleanseOptions,
    context: DefenseContext,
) -> Inverted:
    """Search for the smallest trigger that draws the other images into a cluster.

    Args:
        encoder: The encoder.
        images: The N trusted images.
        cluster: The cluster of them.
        options: The options.
        context: Seed and progress.
    """
    f, device = frozen_copy(encoder).eval(), encoder.mean.device
    bank = torch.from_numpy(cluster.features).to(device)
    member = torch.from_numpy(cluster.members).to(device)
    target = F.normalize(bank[member].mean(dim=0, keepdim=True), dim=1)  # (1, D)
    seed = derive(context.seed, "trigger", cluster.number)
    parameters = TriggerParameters(encoder.spec.image_size, seed, device)
    optimizer = Adam([parameters.mask, parameters.pattern], lr=options.inversion_lr)
    weight = AdaptiveWeight(options.weight, options.factor, options.patience)
    rng = np.random.default_rng(derive(context.seed, "order", cluster.number))
    others = np.flatnonzero(~cluster.members)
    best: Inverted | None = None
    for epoch in range(options.inversion_epochs):
        drawn = []
        order = rng.permutation(others)
        for start in range(0, len(order), options.batch_size):
            x = evaluation_batch(f, images, order[start : start + options.batch_size].tolist())
            trigger = parameters.trigger()
            z = F.normalize(f(pasted(x, trigger)), dim=1)  # (B, D)
            loss = 2 - 2 * (z @ target.T).mean()
            loss = loss + weight.value * trigger.mask.mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            hits = member[(z.detach() @ bank.T).argmax(dim=1)]  # (B,)
            weight.note(success=bool(hits.float().mean() >= options.success))
            drawn.append(hits)
        share = torch.cat(drawn).float().mean().item()
        last = Inverted(parameters.trigger().detached(), share >= options.success)
        if last.works and (best is None or last.size < best.size):
            best = last
        context.progress(epoch + 1, options.inversion_epochs, {"success": share, "size": last.size})
    return best or last


class Cleansing(TrainingTask):
    """Fine-tuning of an encoder so that triggers do not move its features."""

    masks: Tensor
    patterns: Tensor

    def __init__(
        self,
        encoder: Encoder,
        masks: Tensor,
        patterns: Tensor,
        options: CleanseOptions,
        context: TrainingContext,
    ) -> None:
        super().__init__(options, context)
        self.options = options
        self.encoder = copy.deepcopy(encoder).cpu()
        self.before = frozen_copy(self.encoder)
        self.register_buffer("masks", masks)
        self.register_buffer("patterns", patterns)

    def train(self, mode: bool = True) -> Cleansing:  # noqa: FBT001, FBT002 - torch's signature
        """Set the mode; batch norms use their running statistics."""
        super().train(mode)
        self.encoder.eval()
        self.before.eval()
        return self

    def views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return a view, (B, 3, S, S), and the same with a trigger, shifted at random."""
        view = random_view(batch, self.options.views, self.context.image_size, 0)
        return view, self.triggered(view, batch)

    def triggered(self, view: Tensor, batch: Batch) -> Tensor:
        """Paste on each view, (B, 3, S, S), a trigger that is shifted, around the edges."""
        rng = np.random.default_rng(
            derive(batch.seed, "cleanse", batch.epoch, int(batch.indices[0]))
        )
        side = view.shape[-1]
        chosen = rng.integers(len(self.masks), size=len(view))
        shifts = rng.integers(side, size=(len(view), 2))
        found = []
        for image, which, (down, right) in zip(view, chosen, shifts, strict=True):
            move = (int(down), int(right))
            trigger = Trigger(
                self.masks[which].roll(move, (0, 1)), self.patterns[which].roll(move, (1, 2))
            )
            found.append(pasted(image, trigger))
        return torch.stack(found)

    def training_loss(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """Return how far triggered views, and clean views, are from the clean view before."""
        clean, triggered = views
        with torch.no_grad():
            wanted = F.normalize(self.before(clean), dim=1)
        moved, kept = (
            2 - 2 * (F.normalize(self.encoder(x), dim=1) * wanted).sum(dim=1).mean()
            for x in (triggered, clean)
        )
        return self.options.triggered_weight * moved + self.options.clean_weight * kept
