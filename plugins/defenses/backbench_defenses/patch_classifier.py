"""Small networks that learn to separate images with a patch from images without."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from backbench.nn import build_backbone
from backbench.plugin import derive
from backbench.training.loop import seeded
from backbench.training.optimizers import SGD
from backbench_defenses.defense_options import PatchSearchOptions
from backbench_defenses.window_search import Found, Ints, Shown, parts, paste, to_tensor

#: Number of times, at most, that a classifier is judged in its training.
_CHECKS = 20

#: Momentum and decay of SGD.
_MOMENTUM, _DECAY = 0.9, 1e-4


class Classifiers:
    """An ensemble whose mean logit states how much an image looks as if it had a patch.

    Source: Tejankar et al. 2023, and the steps of its published classifier: five ResNets of one
        block a stage, SGD and a cosine; images with one of the best patches pasted on, in random
        size and at a random place, against the same number without; early stop by F1 on the
        images of the best patches against those of the worst.
    Differs: the stem has no pooling, and images are mirrored half the time and not otherwise
        changed. Of equal F1 the later weights are kept. For the most suspicious share, which is
        not trained on, see :func:`~backbench_defenses.patch_search.pool_of`.
    """

    def __init__(
        self, shown: Shown, found: Found, pool: Ints, options: PatchSearchOptions, seed: int
    ) -> None:
        self._shown, self._pool, self._options = shown, pool, options
        self._seed, self._device = seed, shown.device
        best, worst = found.judged(options.top)
        patches = found.patches[: len(best)]
        self._patches = [to_tensor(patch[None], self._device)[0] for patch in patches]
        self._judged = to_tensor(shown.take(np.concatenate([best, worst])), self._device)
        self._guilty = np.arange(len(self._judged)) < len(best)

    def logits(self, progress: Callable[[int, int], None]) -> NDArray[np.float64]:
        """Train the networks, and return their mean logit for each training image, (N,)."""
        networks = []
        for number in range(self._options.classifiers):
            with seeded(derive(self._seed, "weights", number), self._device):
                network = _Network(self._options).to(self._device)
            networks.append(self._trained(network, number, progress))
        total = self._options.classifiers * self._options.steps
        progress(total, total)
        found = np.empty(len(self._shown), dtype=np.float64)
        with torch.inference_mode():
            for rows in parts(len(found), self._shown.side):
                images = to_tensor(self._shown.take(np.arange(len(found))[rows]), self._device)
                logits = torch.stack([network(images) for network in networks])
                found[rows] = logits.double().mean(0).cpu().numpy()
        return found

    def _trained(
        self, network: _Network, number: int, progress: Callable[[int, int], None]
    ) -> _Network:
        options = self._options
        rng = np.random.default_rng(derive(self._seed, "classifier", number))
        optimizer = SGD(
            network.parameters(), lr=options.lr, momentum=_MOMENTUM, weight_decay=_DECAY
        )
        every = max(1, options.steps // _CHECKS)
        best, weights = -1.0, network.state_dict()
        for step in range(options.steps):
            for group in optimizer.param_groups:
                group["lr"] = options.lr * 0.5 * (1 + math.cos(math.pi * step / options.steps))
            network.train()
            images, wanted = self._batch(rng)
            loss = F.binary_cross_entropy_with_logits(network(images), wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if (step + 1) % every == 0:
                f1 = self._f1(network.eval())
                if f1 >= best:
                    best, weights = f1, copy.deepcopy(network.state_dict())
                done = number * options.steps + step + 1
                progress(done, options.classifiers * options.steps)
        network.load_state_dict(weights)
        return network.eval()

    def _batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return images, the first half with a patch, and which have one, (2B,)."""
        size = min(self._options.batch_size, len(self._pool))
        chosen = [rng.choice(self._pool, size, replace=False) for _ in range(2)]
        taken = self._shown.take(np.concatenate(chosen))
        mirrored = rng.random(len(taken)) < 0.5
        taken[mirrored] = taken[mirrored, :, ::-1]
        images = to_tensor(taken, self._device)
        low, high = self._options.patch_sizes
        side = images.shape[-1]
        for row in range(size):
            patch = self._patches[rng.integers(len(self._patches))]
            width = min(int(rng.integers(low, high, endpoint=True)), side)
            patch = F.interpolate(
                patch[None], (width, width), mode="bilinear", antialias=True, align_corners=False
            )[0]
            places = rng.integers(0, side - width + 1, (1, 2))
            images[row : row + 1] = paste(images[row : row + 1], patch, places)
        wanted = (torch.arange(2 * size, device=self._device) < size).float()
        return images, wanted

    def _f1(self, network: _Network) -> float:
        """Return F1 on the images of the best patches against those of the worst."""
        with torch.inference_mode():
            rows = parts(len(self._judged), self._shown.side)
            said = torch.cat([network(self._judged[one]) for one in rows]) > 0
        accused = said.cpu().numpy()
        hits = int((accused & self._guilty).sum())
        return 2 * hits / (int(accused.sum()) + int(self._guilty.sum()))


class _Network(nn.Module):
    """A backbone and one logit: above 0, the image has a patch."""

    def __init__(self, options: PatchSearchOptions) -> None:
        super().__init__()
        self.backbone = build_backbone(options.backbone)
        self.last = nn.Linear(self.backbone.feature_dim, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (B,), of images (B, 3, S, S) in [0, 1]."""
        logits: Tensor = self.last(self.backbone(images * 4 - 2))[:, 0]
        return logits
