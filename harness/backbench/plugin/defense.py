"""Base class of defenses, their context and what they give.

Each is made with ``options``, the validated options of the record that announced the class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from backbench.plugin.checkpoint import CheckpointFile
from backbench.plugin.reporting import Reporting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backbench.images import ImageSet
    from backbench.nn import Encoder, SSLMethod


@dataclass(frozen=True, slots=True)
class CleanImages:
    """Images that a defense may trust: a stated fraction, in (0, 1], of the clean training set.

    Their labels are there too; a defense that uses them states so.
    """

    images: ImageSet
    fraction: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict of a defense on an encoder.

    Args:
        score: Above 0, by the method's own threshold: the encoder has a backdoor. The higher, the
            more suspicious.
        evidence: Arrays that show why, by name, such as an inverted trigger: float32 or uint8.
        numbers: What the method states besides, by name.
    """

    score: float
    evidence: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DefenseContext:
    """Context that the harness gives to a defense besides its input.

    Args:
        seed: Seed of every draw of this stage.
        device: Name of the torch device to compute on.
        clean: Gives the images that may be trusted: ``clean(0.2)`` is a fifth of the clean
            training set, the same fifth for every caller with this seed. A defense of the dataset
            or of the training gets at most a half, and none of which the training set holds a
            poisoned version.
        progress: Call it with (done, total, values) while working; values are shown and logged.
        checkpoint: Where a training may keep its state, to resume from when it was stopped; hand
            it to :class:`backbench.training.loop.TrainingRun`. ``None``: nowhere.
        verdict: Of a repair, the verdict that :meth:`Defense.inspect` of the same defense gave on
            the same encoder; ``None`` where the defense does not act on the model.
    """

    seed: int
    device: str
    clean: Callable[[float], CleanImages]
    progress: Callable[[int, int, Mapping[str, float]], None]
    checkpoint: CheckpointFile | None = None
    verdict: Verdict | None = None


#: Largest share of the training set that a defense of the dataset or of the training may get as
#: clean: with more, the rest would be the poison.
MOST_CLEAN: Final = 0.5


class Defense(Reporting):
    """Wraps a training, drops training images, mends or judges an encoder, or finds triggers.

    A defense is never handed the attack or the list of poisoned images: no type here has a
    field for them.

    Example::

        # my_plugin/prune.py
        import copy

        import torch
        from backbench.plugin import Defense

        class Prune(Defense):
            @torch.no_grad()
            def repair(self, encoder, context):
                repaired = copy.deepcopy(encoder)
                for weight in repaired.parameters():
                    if weight.ndim == 4:  # a convolution
                        smallest = weight.abs().quantile(self.options.share)
                        weight.mul_(weight.abs() > smallest)
                return repaired

        # my_plugin/outliers.py
        import numpy as np
        from backbench.plugin import Defense, extract

        class Outliers(Defense):
            def sanitize(self, encoder, images, context):
                features = extract(encoder, images, device=context.device)  # (N, D)
                distance = np.linalg.norm(features - features.mean(axis=0), axis=1)
                return distance - np.quantile(distance, 1 - self.options.share)

        # my_plugin/far.py
        import numpy as np
        from backbench.plugin import Defense, extract

        class Far(Defense):
            def fit(self, encoder, context):
                features = extract(encoder, context.clean(0.5).images, device=context.device)
                self.center = features.mean(axis=0)  # (D,)
                distance = np.linalg.norm(features - self.center, axis=1)
                self.limit = np.quantile(distance, 1 - self.options.share)

            def score(self, encoder, images, context):
                features = extract(encoder, images, device=context.device)  # (M, D)
                return np.linalg.norm(features - self.center, axis=1) - self.limit

            def state(self):
                return {"center": self.center, "limit": self.limit}

            def restore(self, state):
                if set(state) != {"center", "limit"}:
                    raise ValueError("these arrays are not a center and a limit")
                self.center, self.limit = state["center"], state["limit"]

            def report(self):
                return {"limit": float(self.limit)}

        # my_plugin/spread.py
        from backbench.plugin import Defense, Verdict, extract

        class Spread(Defense):
            def inspect(self, encoder, context):
                images = context.clean(self.options.share).images
                self.images = len(images)
                features = extract(encoder, images, device=context.device)  # (N, D)
                variance = features.var(axis=0)
                widest = float(variance.max() / variance.sum())
                return Verdict(
                    score=widest - 0.5,  # above 0: most of the variance is of a single feature
                    evidence={"variance": variance},
                    numbers={"widest": widest},
                )

            def report(self):
                return {"images": self.images}

        # my_plugin/shuffle.py
        from backbench.nn import GuardedMethod
        from backbench.plugin import Defense

        class Shuffle(Defense):
            def guard(self, method, context):
                return ShuffledColors(method)

        class ShuffledColors(GuardedMethod):
            def views(self, batch):
                turn = batch.epoch % 3
                return [view.roll(turn, dims=1) for view in self.method.views(batch)]
    """

    def __init__(self, options: Any) -> None:
        self.options = options

    def guard(self, method: SSLMethod, context: DefenseContext) -> SSLMethod:
        """Wrap the method by which an encoder is trained (``acts_on="training"``).

        It is called once the method is built, before the optimizer is made: derive from
        :class:`backbench.nn.GuardedMethod`. The images may be poisoned.

        Args:
            method: The method, on the CPU.
            context: Seed, device, clean images. Its ``progress`` is not called, and it has no
                checkpoint: the training loop keeps the state of what is returned.

        Returns:
            The method that is trained in its place; its encoder has the same architecture.

        Raises:
            TypeError: If it does not fit the method.
        """
        raise NotImplementedError(f"{type(self).__name__} does not act on the training")

    def repair(self, encoder: Encoder, context: DefenseContext) -> Encoder:
        """Return a mended encoder of the same architecture (``acts_on="encoder"``).

        The given encoder maps images (B, 3, H, W) in [0, 1] to features (B, D). Do not modify it.
        What is returned must be all in weights and running statistics: a hook is not stored.
        """
        raise NotImplementedError(f"{type(self).__name__} does not act on the encoder")

    def inspect(self, encoder: Encoder, context: DefenseContext) -> Verdict:
        """Judge an encoder: has it a backdoor (``acts_on="model"``)?

        It is called for each encoder of a cell and for that of its control, before any repair.

        Args:
            encoder: The encoder, in evaluation mode. Do not modify it.
            context: Seed, device, clean images, progress.

        Returns:
            A score, which accuses the encoder above 0; with evidence and numbers, if there are any.
        """
        raise NotImplementedError(f"{type(self).__name__} does not act on the model")

    def sanitize(
        self, encoder: Encoder, images: ImageSet, context: DefenseContext
    ) -> NDArray[np.float64]:
        """Score training images by suspicion (``acts_on="dataset"``).

        Args:
            encoder: An encoder trained on ``images``.
            images: The training set as it was found, poisons included. Its labels are all -1.
            context: Seed, device, clean images, progress.

        Returns:
            A score for each image, (N,): those above 0 are dropped, and higher is more
            suspicious.
        """
        raise NotImplementedError(f"{type(self).__name__} does not act on the dataset")

    def score(
        self, encoder: Encoder, images: ImageSet, context: DefenseContext
    ) -> NDArray[np.float64]:
        """Score images at test time by suspicion (``acts_on="input"``).

        Args:
            encoder: The encoder that is guarded, in evaluation mode. Do not modify it.
            images: Validation images, clean and triggered in random order. Their labels are all -1.
            context: Seed, device, clean training images, progress.

        Returns:
            A score for each image, (M,): those above 0 are rejected, and higher is more suspicious.
        """
        raise NotImplementedError(f"{type(self).__name__} does not act on the input")

    def fit(self, encoder: Encoder, context: DefenseContext) -> None:
        """Learn to score images for this encoder (``acts_on="input"``, ``learns=True``).

        It is done in a stage of its own, once for all triggers. Another object with the same
        options gets :meth:`restore` before :meth:`score`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not learn")

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return what :meth:`fit` has learned as arrays by name, to be stored."""
        raise NotImplementedError(f"{type(self).__name__} does not learn")

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave, in place of fitting.

        Raises:
            ValueError: If the arrays are not such a detector's.
        """
        raise NotImplementedError(f"{type(self).__name__} does not learn")
