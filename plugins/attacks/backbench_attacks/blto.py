"""BLTO: a trigger that is optimized against a surrogate encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbench.nn import cosine_regression, in_groups, mlp
from backbench.plugin import (
    ArrayImages,
    AttackContext,
    Box,
    ImageSet,
    Pixels,
    Split,
    Stamp,
    TrainingContext,
    TwoViewMethod,
    derive,
    evaluation_batch,
)
from backbench.training.checkpoint import Checkpoints, Trained
from backbench.training.device import resolve_precision, to_device
from backbench.training.loop import TrainingRun, seeded, train_epoch
from backbench.training.optimizers import Adam, build_optimizer
from backbench.views.batches import open_source
from backbench.views.randomness import Draws
from backbench.views.views import view_parameters
from backbench_attacks.badencoder import similarity
from backbench_attacks.blto_options import BLTOOptions, SurrogateOptions
from backbench_attacks.clean_label import CleanLabelAttack
from backbench_attacks.soft_views import soft_view
from backbench_attacks.trigger_network import TriggerNetwork

#: Largest level of a color.
_LEVELS = 255


class BLTO(CleanLabelAttack):
    """Learn a network whose triggered images have the features of the target class.

    Symbols as in the paper: trigger network g with weights ψ, surrogate encoder f with weights θ,
    images x, references x_r of the target class, views t₁ and t₂, cosine similarity S. The inner
    problem trains θ on the poisoned images, the outer problem maximizes
    E S(f(t₁(g(x))), f(t₂(x_r))) over ψ.

    Source: Sun et al. 2024, Backdoor contrastive learning via bi-level trigger optimization,
        section 4: alternate both problems, and start the surrogate anew now and then; surrogate
        SimSiam; a change of at most 8 of 255 levels.
    Differs: the trigger network, its number of steps and the number of restarts are not published
        and are ours. The poisoned images are the references; the surrogate sees them besides the
        clean images. References and triggered images are compared in all pairs of a batch.
    """

    options: BLTOOptions
    _network: TriggerNetwork | None = None

    def fit(self, context: AttackContext) -> None:
        """Alternate both problems; see :meth:`backbench.plugin.Attack.fit`."""
        options = self.options
        self._network = None
        with seeded(derive(context.seed, "network"), torch.device(context.device)):
            network = self._build().to(context.device)
        _BiLevel(options, context, network, context.references(self.poisons)).solve()
        self._network = network.cpu().eval()

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the weights of the trigger network."""
        return {name: one.numpy() for name, one in self.network.state_dict().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take the weights of a trigger network.

        Raises:
            ValueError: If they are of another network.
        """
        with torch.device("meta"):  # no weights are drawn
            network = self._build()
        tensors = {name: torch.as_tensor(one, dtype=torch.float32) for name, one in state.items()}
        try:
            network.load_state_dict(tensors, assign=True)
        except RuntimeError as error:
            raise ValueError(f"not a trigger network of width {self.options.width}") from error
        self._network = network.eval()

    @property
    def network(self) -> TriggerNetwork:
        """The fitted trigger network, on the processor.

        Raises:
            RuntimeError: If the attack has neither learned nor restored it.
        """
        if self._network is None:
            raise RuntimeError("the trigger network is neither fitted nor restored")
        return self._network

    @torch.no_grad()
    def stamp(self, image: Pixels, rng: np.random.Generator, split: Split) -> Stamp:  # noqa: ARG002
        """Put the image's own trigger on it; see :meth:`backbench.plugin.Attack.stamp`."""
        pixels = stamped(self.network, image)
        return Stamp(pixels, Box(0, 0, image.shape[1], image.shape[0]), opacity=1.0)

    def _build(self) -> TriggerNetwork:
        return TriggerNetwork(self.options.epsilon / _LEVELS, self.options.width)


@torch.no_grad()
def stamped(network: TriggerNetwork, image: Pixels) -> Pixels:
    """Return an image, (H, W, 3), uint8, with the trigger that a network makes for it."""
    device = network.last.weight.device
    x = torch.from_numpy(np.ascontiguousarray(image).copy()).to(device).permute(2, 0, 1)[None]
    made = network.triggered(x.float() / _LEVELS)[0].permute(1, 2, 0)
    return (made * _LEVELS).round().to(torch.uint8).cpu().numpy()


class Surrogate(TwoViewMethod):
    """SimSiam on the attacker's images.

    Source: Chen and He 2021, algorithm 1; see the method ``simsiam``.
    """

    def __init__(self, options: SurrogateOptions, context: TrainingContext) -> None:
        super().__init__(options, context)
        self.project = mlp(self.encoder.feature_dim, options.dim, options.dim, norm=True)
        self.h = mlp(options.dim, options.hidden, options.dim, norm=True)

    def training_loss(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean of D(p₁, z₂) and D(p₂, z₁), in [−1, 1]."""
        z1, z2 = (self.project(in_groups(self.encoder, x, self.norm_groups)) for x in views)
        p1, p2 = self.h(z1), self.h(z2)
        loss = cosine_regression(p1, z2.detach()) + cosine_regression(p2, z1.detach())
        return loss / 4 - 1


class _BiLevel:
    """The alternation of both problems."""

    def __init__(
        self,
        options: BLTOOptions,
        context: AttackContext,
        network: TriggerNetwork,
        references: ImageSet,
    ) -> None:
        self.options, self.context, self.network = options, context, network
        self.references = references
        self.shadow = context.shadow(options.shadow_fraction)
        self.device = torch.device(context.device)
        self.rng = np.random.default_rng(derive(context.seed, "outer"))
        self.adam = Adam(network.parameters(), lr=options.lr)

    def solve(self) -> None:
        """Train the network; keep its state after each restart of the surrogate."""
        kept = Trained(
            task=cast("Any", self.network),
            optimizer=self.adam,
            scaler=torch.amp.GradScaler(self.device.type, enabled=False),
            device=self.device,
        )
        identity = {
            "attack": "blto",
            "options": self.options.identity(),
            "precision": resolve_precision(self.options.surrogate.precision, self.device),
            "seed": self.context.seed,
        }
        minutes = self.options.surrogate.checkpoint_minutes
        checkpoints = Checkpoints(self.context.checkpoint, identity, minutes)
        checkpoints.load(kept)
        for restart in range(len(kept.history), self.options.restarts):
            self.rng = np.random.default_rng(derive(self.context.seed, "outer", restart))
            kept.history.append(self._restarted(restart))
            if restart + 1 < self.options.restarts:
                checkpoints.save(kept)

    def _restarted(self, restart: int) -> dict[str, float]:
        """Train a fresh surrogate, and the network after each of its epochs."""
        options, context = self.options.surrogate, self.context
        seed = derive(context.seed, "surrogate", restart)
        similar = 0.0
        with seeded(derive(seed, "training"), self.device):
            run = TrainingRun(options, self._poisoned(), seed, context.device)
            surrogate = Surrogate(options, run.context())
            surrogate = to_device(surrogate, self.device, channels_last=options.channels_last)
            trained = Trained(
                task=surrogate.train(),
                optimizer=build_optimizer(surrogate, options.optimizer),
                scaler=torch.amp.GradScaler(self.device.type, enabled=False),
                device=self.device,
            )
            total = self.options.restarts * options.epochs
            for epoch in range(options.epochs):
                run = TrainingRun(options, self._poisoned(), seed, context.device)
                with open_source(run.images, self.device) as source:
                    batches = run.batches(source, epoch)
                    record = train_epoch(trained, run, surrogate.training_loss, batches, epoch)
                similar = self._improve(surrogate)
                values = {"loss": record["loss"], "similarity": similar}
                context.progress(restart * options.epochs + epoch + 1, total, values)
        return {"similarity": similar}

    def _poisoned(self) -> ImageSet:
        """Return the attacker's images, and the references with the trigger as it is now."""
        poisons = [
            stamped(self.network, self.references.image(index))
            for index in range(len(self.references))
        ]
        return joined(self.shadow, poisons)

    def _improve(self, surrogate: Surrogate) -> float:
        """Let the network maximize S for some steps; return the last S."""
        f, count = surrogate.encoder.eval().requires_grad_(requires_grad=False), 0.0
        for _ in range(self.options.steps):
            x, rows = self._drawn(surrogate, self.shadow)
            x_r, rows_r = self._drawn(surrogate, self.references)
            with torch.no_grad():
                f_r = f(self._view(x_r, rows_r))
            loss = -similarity(f(self._view(self.network.triggered(x), rows)), f_r)
            self.adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.adam.step()
            count = -loss.item()
        f.requires_grad_().train()
        return count

    def _drawn(self, surrogate: Surrogate, images: ImageSet) -> tuple[Tensor, NDArray[np.int64]]:
        """Draw images of a set; return them as they are evaluated, and their positions."""
        size = min(self.options.batch_size, len(images))
        rows = self.rng.choice(len(images), size, replace=False)
        return evaluation_batch(surrogate.encoder, images, rows.tolist()), rows

    def _view(self, images: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Return a random view of each image that passes gradients on."""
        seed = int(self.rng.integers(2**62))
        sizes = np.tile(np.asarray(images.shape[-2:], dtype=np.int64), (len(images), 1))
        parameters = view_parameters(Draws(seed, 0, rows, 0), sizes, self.options.surrogate.views)
        return soft_view(images, parameters)


def joined(images: ImageSet, more: list[Pixels]) -> ImageSet:
    """Return a set without labels of some images and more images behind them."""
    count = len(images) + len(more)
    sources = [f"{index:08d}" for index in range(count)]
    labels = np.full(count, -1, dtype=np.int64)
    if images.pixels is not None:
        return ArrayImages(np.concatenate([images.pixels, np.stack(more)]), labels, sources)
    return _Joined(images, more, labels, sources)


class _Joined(ImageSet):
    def __init__(
        self, first: ImageSet, more: list[Pixels], labels: NDArray[np.int64], sources: list[str]
    ) -> None:
        super().__init__(labels, sources, first.size)
        self._first, self._more = first, more

    def image(self, index: int) -> Pixels:
        count = len(self._first)
        return self._first.image(index) if index < count else self._more[index - count]
