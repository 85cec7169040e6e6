"""Search for the window of an image that, pasted on others, carries them into its cluster."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbench.nn import Encoder
from backbench.plugin import ImageSet, Pixels, count_of, derive, evaluation_image
from backbench.training.extraction import extract
from backbench.views.batches import as_tensor, reader_pool
from backbench_defenses.defense_options import PatchSearchOptions

with warnings.catch_warnings():
    # faiss's generated wrappers lack an attribute that newer Pythons require.
    warnings.simplefilter("ignore", DeprecationWarning)
    import faiss

#: Pixels of the images that go through an encoder at once, and least length of features.
_BATCH_PIXELS, _TINY = 2**20, 1e-12

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Found:
    """Outcome of a search.

    Args:
        images: Positions of the searched images, (M,), those with the highest score first.
        scores: How many of the test images came into the image's cluster by its window, less
            those that had been there, (M,).
        patches: The windows, (M, w, w, 3), uint8.
    """

    images: Ints
    scores: Ints
    patches: Pixels

    def judged(self, top: int) -> tuple[Ints, Ints]:
        """Return the images of the ``top`` best patches, and as many, or fewer, of the worst."""
        best, rest = self.images[:top], self.images[top:]
        return best, rest[max(0, len(rest) - len(best)) :]


class Shown:
    """A training set as the encoder is shown it, read when it is requested."""

    def __init__(self, images: ImageSet, encoder: Encoder) -> None:
        self._images = images
        self.side, self.device = encoder.spec.image_size, encoder.mean.device

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Pixels:
        margin = self._images.size is None
        return evaluation_image(self._images.image(index), self.side, margin=margin)

    def take(self, chosen: Ints) -> Pixels:
        """Return images, (M, S, S, 3), uint8."""
        wanted = chosen.tolist()
        if self._images.pixels is not None:
            return np.stack([self[index] for index in wanted])
        with reader_pool() as pool:
            return np.stack(list(pool.map(self.__getitem__, wanted)))


class Clusters:
    """Groups of training images that the encoder finds alike.

    The encoder is in evaluation mode, on the device; features of the training images are (N, D).

    Attributes:
        of: Cluster of each image, (N,).
        centers: Mean of each cluster's unit features, of unit length, (C, D).
        likeness: Cosine of each image and its center, (N,).
    """

    def __init__(
        self, encoder: Encoder, features: Floats, options: PatchSearchOptions, seed: int
    ) -> None:
        unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), _TINY)
        wanted = min(options.clusters, len(unit))
        kmeans = faiss.Kmeans(
            unit.shape[1],
            wanted,
            niter=options.iterations,
            seed=seed % 2**31,
            min_points_per_centroid=1,
            max_points_per_centroid=len(unit),
        )
        kmeans.train(np.ascontiguousarray(unit))
        _, nearest = kmeans.index.search(np.ascontiguousarray(unit), 1)
        filled, self.of = np.unique(nearest[:, 0], return_inverse=True)
        means = np.zeros((len(filled), unit.shape[1]), dtype=np.float64)
        np.add.at(means, self.of, unit)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), _TINY)
        self.centers = means.astype(np.float32)
        self.likeness = (unit * self.centers[self.of]).sum(axis=1)
        self.encoder = encoder
        #: The centers on the encoder's device.
        self.tensor = torch.from_numpy(self.centers).to(encoder.mean.device)

    def __len__(self) -> int:
        return len(self.centers)

    def assign(self, images: Tensor) -> Tensor:
        """Return the cluster of each image, (B,), of tensors (B, 3, S, S) in [0, 1]."""
        return (F.normalize(self.encoder(images), dim=1) @ self.tensor.T).argmax(dim=1)

    def cosine(self, images: Tensor, cluster: int) -> Tensor:
        """Return the cosine of each image, (B, 3, S, S), and a cluster's center, (B,)."""
        return F.normalize(self.encoder(images), dim=1) @ self.tensor[cluster]


class PatchSearch:
    """Looks for windows that draw other images into a cluster.

    Source: Tejankar et al. 2023, Defending against patch-based backdoor attacks on self-supervised
        learning (CVPR), and the steps of its published search: k-means, flip test on the images
        nearest their centers, two images of each cluster a round, the window of the largest
        Grad-CAM, a quarter of the clusters dropped a round.
    Differs: ``window_by = "occlusion"`` finds the window by covering, not by Grad-CAM.
    """

    def __init__(
        self, encoder: Encoder, images: ImageSet, options: PatchSearchOptions, seed: int
    ) -> None:
        self._options, self._seed = options, seed
        self._device = encoder.mean.device
        self.shown = Shown(images, encoder)
        features = extract(encoder, images, device=str(self._device), precision="fp32")
        self.clusters = Clusters(encoder, features, options, derive(seed, "clusters"))
        nearest = np.argsort(-self.clusters.likeness, kind="stable")[: options.test_images]
        self._test = as_tensor(self.shown.take(nearest)).to(self._device)
        self._before = torch.bincount(self._assigned(), minlength=len(self.clusters))

    def run(self, progress: Callable[[int, int], None]) -> Found:
        """Search, a round after the other; ``progress`` gets images searched, and their maximum."""
        rng = np.random.default_rng(derive(self._seed, "order"))
        left = list(range(len(self.clusters)))
        members = [list(rng.permutation(np.flatnonzero(self.clusters.of == one))) for one in left]
        best = np.full(len(left), np.iinfo(np.int64).min)
        total = _candidates(len(left), self._options)
        found: list[tuple[int, int, Pixels]] = []
        while left:
            for cluster in left:
                for _ in range(min(self._options.per_cluster, len(members[cluster]))):
                    index = int(members[cluster].pop())
                    patch = self.window(index, cluster)
                    score = self.flips(patch, cluster, index)
                    best[cluster] = max(best[cluster], score)
                    found.append((index, score, patch))
                    progress(min(len(found), total), total)
            left = kept(left, best, self._options.prune)
        found.sort(key=lambda one: -one[1])
        images, scores, patches = zip(*found, strict=True)
        return Found(np.asarray(images), np.asarray(scores), np.stack(patches))

    def window(self, index: int, cluster: int) -> Pixels:
        """Cut out the window to which an image owes its cluster, (w, w, 3), uint8."""
        image = self.shown[index]
        width = min(self._options.window, len(image))
        given = to_tensor(image[None], self._device)
        by = _cam if self._options.window_by == "cam" else _occlusion
        top, left = by(self.clusters, given, cluster, width)
        return image[top : top + width, left : left + width]

    def flips(self, patch: Pixels, cluster: int, index: int) -> int:
        """Count the test images that a patch carries into a cluster, less those there before."""
        rng = np.random.default_rng(derive(self._seed, "paste", index))
        positions = rng.integers(0, self._test.shape[1] - len(patch) + 1, (len(self._test), 2))
        pasted = to_tensor(patch[None], self._device)[0], positions
        return int((self._assigned(*pasted) == cluster).sum() - self._before[cluster])

    def _assigned(self, patch: Tensor | None = None, positions: Ints | None = None) -> Tensor:
        """Return the cluster of each test image, perhaps with a patch on it."""
        found = []
        with torch.inference_mode():
            for rows in parts(len(self._test), self._test.shape[1]):
                images = floats(self._test[rows])
                if patch is not None and positions is not None:
                    images = paste(images, patch, positions[rows])
                found.append(self.clusters.assign(images))
        return torch.cat(found)


def kept(left: list[int], best: Ints, prune: float) -> list[int]:
    """Return the clusters of the next round: without the pruned share, or none if that is 0."""
    dropped = count_of(prune, len(left))
    ranked = sorted(left, key=lambda cluster: -int(best[cluster]))
    return ranked[:-dropped] if dropped else []


def _candidates(clusters: int, options: PatchSearchOptions) -> int:
    """Return how many images are searched, if no cluster runs out of them."""
    total, left = 0, list(range(clusters))
    while left:
        total += options.per_cluster * len(left)
        left = kept(left, np.zeros(clusters, dtype=np.int64), options.prune)
    return total


def paste(images: Tensor, patch: Tensor, positions: Ints) -> Tensor:
    """Return images, (B, 3, S, S), with a patch, (3, h, w), at top and left of each, (B, 2)."""
    height, width = patch.shape[1:]
    rows = torch.from_numpy(positions[:, :1] + np.arange(height)).to(images.device)
    columns = torch.from_numpy(positions[:, 1:] + np.arange(width)).to(images.device)
    pasted = images.clone()
    which = torch.arange(len(images), device=images.device)[:, None, None]
    pasted[which, :, rows[:, :, None], columns[:, None, :]] = patch.permute(1, 2, 0)
    return pasted


def _cam(clusters: Clusters, image: Tensor, cluster: int, width: int) -> tuple[int, int]:
    """Return top and left of the window with the largest sum of Grad-CAM.

    Features are the mean of the last map, so that the slope of their product with a center is the
    same everywhere on the map, the center itself.

    Source: Selvaraju et al. 2017, Grad-CAM (ICCV), on the last map of the encoder.
    Differs: the product is taken before features are brought to unit length, as the slope of the
        cosine vanishes where an image is like its center.
    """
    with torch.inference_mode():
        maps = clusters.encoder.stage_maps(image)[-1]
        cam = F.relu(torch.einsum("bchw,c->bhw", maps, clusters.tensor[cluster]))[:, None]
        cam = F.interpolate(cam, image.shape[-2:], mode="bilinear", align_corners=False)
        sums = F.avg_pool2d(cam, width, stride=1)[0, 0]
        return divmod(int(sums.argmax()), sums.shape[1])


def _occlusion(clusters: Clusters, image: Tensor, cluster: int, width: int) -> tuple[int, int]:
    """Return top and left of the window without which the image is least like its cluster."""
    side = image.shape[-1]
    steps = np.unique(np.append(np.arange(0, side - width, max(1, width // 4)), side - width))
    positions = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    blank = image.mean((2, 3))[0][:, None, None].expand(3, width, width)
    with torch.inference_mode():
        likeness = [
            clusters.cosine(paste(image.expand(len(one), -1, -1, -1), blank, one), cluster)
            for one in (positions[rows] for rows in parts(len(positions), side))
        ]
    top, left = positions[int(torch.cat(likeness).argmin())]
    return int(top), int(left)


def to_tensor(images: Pixels, device: torch.device) -> Tensor:
    """Return (B, 3, S, S), float32 in [0, 1], of (B, S, S, 3), uint8."""
    return floats(as_tensor(np.ascontiguousarray(images)).to(device))


def floats(images: Tensor) -> Tensor:
    """Return (B, 3, S, S), float32 in [0, 1], of (B, S, S, 3), uint8."""
    return images.permute(0, 3, 1, 2) / 255


def parts(count: int, side: int) -> Iterator[slice]:
    """Yield slices of so many images that fit the memory together."""
    length = max(8, _BATCH_PIXELS // side**2)
    yield from (slice(i, min(i + length, count)) for i in range(0, count, length))
