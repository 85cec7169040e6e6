"""DeDe: what a decoder makes of a triggered image's features is not the image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backbench.plugin import (
    Defense,
    DefenseContext,
    Encoder,
    ImageSet,
    count_of,
    derive,
    evaluation_batch,
    extract,
)
from backbench.training.optimizers import AdamW
from backbench_defenses.detector_options import DeDeOptions

#: Images that are scored together.
_BATCH = 256

#: Name of the threshold in the state.
_THRESHOLD = "threshold"


class DeDe(Defense):
    """Rejects an image that a decoder cannot make again of its features and a few of its patches.

    The decoder learns to do so for clean images. The trigger moves the features to another class;
    the decoder then makes an image of that class.

    Source: Hou, Li and Yao 2025, DeDe: detecting backdoor samples for SSL encoders via decoders
        (CVPR); published commands: mask ratio .9 in training and .99 in testing, patches of 4
        pixels at 32; a decoder of four layers, 200 epochs.
    Differs: one transformer sees features and patches, where the paper has an encoder of patches
        before the decoder. The error is that of the masked patches, its mean over some masks which
        all images share. The threshold is a quantile of held-out clean images' errors.
    """

    options: DeDeOptions

    def fit(self, encoder: Encoder, context: DefenseContext) -> None:
        """Train the decoder; see :meth:`backbench.plugin.Defense.fit`."""
        options, side = self.options, encoder.spec.image_size
        images = context.clean(options.clean_fraction).images
        seed = derive(context.seed, "dede")
        order = np.random.default_rng(seed).permutation(len(images))
        held = max(1, count_of(options.held_out, len(images)))
        rows = order[held:] if held < len(order) else order
        features = extract(encoder, images, device=context.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            decoder = Decoder(side, features.shape[1], options).to(context.device)
        self.decoder = decoder
        optimizer = AdamW(decoder.parameters(), lr=options.lr, weight_decay=options.weight_decay)
        generator = torch.Generator().manual_seed(seed)
        each = -(-len(rows) // options.batch_size)
        steps = options.epochs * each
        for step in range(steps):
            if step % each == 0:
                shuffled = rows[torch.randperm(len(rows), generator=generator).numpy()]
            first = step % each * options.batch_size
            chosen = shuffled[first : first + options.batch_size]
            x = decoder.patches(evaluation_batch(encoder, images, chosen.tolist()))  # (B, P, 3pp)
            hidden = hidden_patches(len(chosen), x.shape[1], options.train_mask, generator)
            hidden = hidden.to(x.device)
            made = decoder(torch.from_numpy(features[chosen]).to(x.device), x, hidden)
            loss = masked_error(made, x, hidden).mean()
            for group in optimizer.param_groups:
                group["lr"] = options.lr * _share_of_lr(step / steps, options.warmup)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % each == each - 1:
                context.progress(step + 1, steps, {"loss": float(loss.detach())})
        decoder.eval()
        errors = self._errors(encoder, images, context)[order[:held]]
        self.threshold = float(np.quantile(errors, 1 - options.reject))

    def score(
        self, encoder: Encoder, images: ImageSet, context: DefenseContext
    ) -> NDArray[np.float64]:
        """Score every image; see :meth:`backbench.plugin.Defense.score`."""
        return self._errors(encoder, images, context) - self.threshold

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the decoder and the threshold."""
        weights = {name: one.cpu().numpy() for name, one in self.decoder.state_dict().items()}
        return {**weights, _THRESHOLD: np.array(self.threshold)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave; see :meth:`backbench.plugin.Defense.restore`."""
        try:
            features = state["of_features.weight"].shape[1]
            patches = len(state["positions"]) - 1
            side = math.isqrt(patches) * self.options.patch
            self.threshold = float(state[_THRESHOLD])
            weights = {
                name: torch.from_numpy(np.array(one))
                for name, one in state.items()
                if name != _THRESHOLD
            }
            with torch.random.fork_rng(devices=[]):
                self.decoder = Decoder(side, features, self.options)
            self.decoder.load_state_dict(weights)
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"these arrays are not a decoder of DeDe: {error}") from error
        self.decoder.eval()

    def _errors(
        self, encoder: Encoder, images: ImageSet, context: DefenseContext
    ) -> NDArray[np.float64]:
        """Return the mean error of every image over some masks, (M,)."""
        options, decoder = self.options, self.decoder.to(context.device)
        generator = torch.Generator().manual_seed(derive(context.seed, "dede", "masks"))
        hidden = hidden_patches(options.draws, decoder.count, options.test_mask, generator).to(
            context.device
        )
        features = torch.from_numpy(extract(encoder, images, device=context.device))
        errors = np.empty(len(images))
        with torch.inference_mode():
            for start in range(0, len(images), _BATCH):
                rows = slice(start, min(start + _BATCH, len(images)))
                batch = evaluation_batch(encoder, images, range(rows.start, rows.stop))
                x = decoder.patches(batch)
                f = features[rows].to(context.device)
                found = [
                    masked_error(decoder(f, x, mask.expand(len(x), -1)), x, mask) for mask in hidden
                ]
                errors[rows] = torch.stack(found).double().mean(dim=0).cpu().numpy()
        return errors


class Decoder(nn.Module):
    """A transformer that makes the masked patches of an image of its features and the others.

    Args:
        side: Side of an image in pixels, S.
        features: Number of features, D.
        options: Sizes.
    """

    def __init__(self, side: int, features: int, options: DeDeOptions) -> None:
        super().__init__()
        self.patch = options.patch
        self.count = (side // options.patch) ** 2
        values, width = 3 * options.patch**2, options.width
        self.normalize = nn.LayerNorm(features, elementwise_affine=False)
        self.of_features = nn.Linear(features, width)
        self.of_patch = nn.Linear(values, width)
        self.masked = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(0.02 * torch.randn(self.count + 1, width))
        layer = nn.TransformerEncoderLayer(
            width,
            options.heads,
            2 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, options.depth, enable_nested_tensor=False)
        self.last = nn.LayerNorm(width)
        self.to_patch = nn.Linear(width, values)

    def patches(self, images: Tensor) -> Tensor:
        """Cut images (B, 3, S, S) into P patches, (B, P, 3·p·p)."""
        return torch.nn.functional.unfold(images, self.patch, stride=self.patch).transpose(1, 2)

    def forward(self, features: Tensor, patches: Tensor, hidden: Tensor) -> Tensor:
        """Make patches.

        Args:
            features: (B, D).
            patches: (B, P, 3·p·p), values in [0, 1].
            hidden: (B, P), true where a patch is masked.

        Returns:
            (B, P, 3·p·p).
        """
        seen = torch.where(hidden[..., None], self.masked, self.of_patch(patches - 0.5))
        first = self.of_features(self.normalize(features))[:, None]
        tokens = torch.cat([first, seen], dim=1) + self.positions
        made: Tensor = self.to_patch(self.last(self.layers(tokens)))
        return made[:, 1:] + 0.5


def hidden_patches(images: int, patches: int, share: float, generator: torch.Generator) -> Tensor:
    """Mask a share of the patches of each image, (B, P); at least one is masked, one seen."""
    count = min(max(round(share * patches), 1), patches - 1) if patches > 1 else 1
    ranks = torch.rand(images, patches, generator=generator).argsort(dim=1).argsort(dim=1)
    return ranks < count


def masked_error(made: Tensor, patches: Tensor, hidden: Tensor) -> Tensor:
    """Return the mean squared error of the masked patches of each image, (B,)."""
    each = (made - patches).square().mean(dim=2)  # (B, P)
    return (each * hidden).sum(dim=1) / hidden.sum(dim=-1)


def _share_of_lr(done: float, warmup: float) -> float:
    """Return the share of the highest learning rate, of the share of the steps that are done."""
    if done < warmup:
        return (done + 1e-3) / (warmup + 1e-3)
    return (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2
