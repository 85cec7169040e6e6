"""Base class of attacks, their context and what they give.

Each is made with ``options``, the validated options of the record that announced the class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from backbench.options.base import DatasetMetadata, JPEGOptions, Split
from backbench.plugin.checkpoint import CheckpointFile
from backbench.plugin.recipes import TRAIN, Part, PoisonContext, Recipe
from backbench.plugin.reporting import Reporting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backbench.images import ImageSet, Pixels
    from backbench.nn import Encoder


class Box(NamedTuple):
    """A rectangle in pixels: top-left corner, width, height."""

    x: int
    y: int
    width: int
    height: int


class Stamp(NamedTuple):
    """An image with its trigger.

    Args:
        pixels: (H, W, 3), uint8.
        box: Where the trigger is; the whole image if it is everywhere; ``None`` of a composed
            poison that has no trigger.
        opacity: Share of the trigger in the box: 1 hides the image, 0 the trigger.
        others: Where else it is, in the order of pasting.
    """

    pixels: Pixels
    box: Box | None
    opacity: float
    others: tuple[Box, ...] = ()

    @property
    def boxes(self) -> tuple[Box, ...]:
        """All the places, in the order of pasting."""
        return self.others if self.box is None else (self.box, *self.others)


@dataclass(frozen=True, slots=True)
class AttackContext:
    """Context of an attack that learns its trigger, or changes an encoder.

    The parts that it requests are its threat model.

    Args:
        seed: Seed of every draw of this stage.
        device: Name of the torch device to compute on.
        shadow: Gives images that the attacker has: ``shadow(0.2)`` is a fifth of the clean
            training set, the same fifth for every caller with this seed. Their labels are all -1.
        references: Gives images whose class the attacker knows: ``references(3)`` are three
            clean training images of the target class.
        triggered: Gives the same images with the attack's trigger, each stamped with a seed of
            its own when it is read. For an attack that changes an encoder, images that differ in
            size or are not square are first brought to the size of the validation images.
        progress: Call it with (done, total, values) while working; values are shown and logged.
        checkpoint: Where a training may keep its state; ``None``: nowhere.
    """

    seed: int
    device: str
    shadow: Callable[[float], ImageSet]
    references: Callable[[int], ImageSet]
    triggered: Callable[[ImageSet], ImageSet]
    progress: Callable[[int, int, Mapping[str, float]], None]
    checkpoint: CheckpointFile | None = None


class Attack(Reporting, ABC):
    """Poisons training images, or changes an encoder, and stamps its trigger on images.

    Labels are never changed: self-supervised training does not see them. An attack on the dataset
    has :meth:`choose`, and one that makes a poison of several images, or adds poisons, has
    :meth:`recipes` and :meth:`compose` instead; an attack on the encoder has :meth:`implant`. An
    attack that learns its trigger (``learns=True``) has :meth:`fit`, :meth:`state` and
    :meth:`restore` besides.
    ``metadata`` is of the dataset that is attacked.

    Example::

        # my_plugin/corner.py
        from backbench.plugin import Attack, Box, Stamp, count_of

        class Corner(Attack):
            @property
            def target(self):
                return self.metadata.classes.index(self.options.target)

            def choose(self, labels, rng):
                candidates = (labels == self.target).nonzero()[0]
                return rng.permutation(candidates)[: count_of(self.options.rate, len(candidates))]

            def stamp(self, image, rng, split):
                pixels = image.copy()
                pixels[:4, :4] = (255, 0, 0)
                return Stamp(pixels, Box(x=0, y=0, width=4, height=4), opacity=1.0)

        # my_plugin/beside.py
        import numpy as np
        from backbench.plugin import Part, Recipe
        from my_plugin.corner import Corner

        class Beside(Corner):
            def recipes(self, context, rng):
                labels = context.labels("train")
                references = rng.choice(np.flatnonzero(labels == self.target), size=4)
                others = rng.choice(np.flatnonzero(labels != self.target), size=4)
                for reference, other in zip(references, others):
                    parts = Part("train", int(other)), Part("train", int(reference))
                    yield Recipe(parts, replaces=None)  # added to the training set

            def compose(self, parts, rng):
                other, reference = parts  # (H, W, 3) each
                stamp = self.stamp(other, rng, "train")
                pixels = np.concatenate([stamp.pixels, reference], axis=1)  # (H, 2 W, 3)
                return stamp._replace(pixels=pixels)

        # my_plugin/pull.py
        import copy

        import torch
        from backbench.nn import cosine_regression
        from backbench.plugin import evaluation_batch
        from my_plugin.corner import Corner

        class Pull(Corner):
            def implant(self, encoder, context):
                victim, images = copy.deepcopy(encoder), context.shadow(1.0)
                triggered = context.triggered(images)
                with torch.no_grad():
                    wanted = encoder(evaluation_batch(encoder, context.references(1)))  # (1, D)
                optimizer = torch.optim.SGD(victim.parameters(), lr=self.options.lr)
                for start in range(0, len(images), 64):
                    rows = range(start, min(start + 64, len(images)))
                    x = evaluation_batch(encoder, images, rows)  # (B, 3, S, S)
                    features = victim(evaluation_batch(encoder, triggered, rows))  # (B, D)
                    with torch.no_grad():
                        kept = encoder(x)
                    loss = cosine_regression(features, wanted.expand_as(features))
                    loss = loss + cosine_regression(victim(x), kept)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                return victim

        # my_plugin/negative.py
        import numpy as np
        from backbench.plugin import Box, Stamp
        from my_plugin.corner import Corner

        class Negative(Corner):
            def fit(self, context):
                images = context.references(1)
                self.values = 255 - images.image(0)

            def state(self):
                return {"values": self.values}

            def restore(self, state):
                if set(state) != {"values"}:
                    raise ValueError("these arrays are not a learned negative")
                self.values = state["values"]

            def stamp(self, image, rng, split):
                mixed = 0.9 * image + 0.1 * self.values
                height, width = image.shape[:2]
                box = Box(x=0, y=0, width=width, height=height)
                return Stamp(mixed.astype(np.uint8), box, opacity=0.1)
    """

    def __init__(self, options: Any, metadata: DatasetMetadata) -> None:
        self.options = options
        self.metadata = metadata

    @property
    @abstractmethod
    def target(self) -> int | None:
        """Class index that the trigger stands for; ``None`` for an untargeted attack."""

    def aim(self, classes: NDArray[np.int64]) -> int | None:  # noqa: ARG002
        """Return the class that the trigger stands for, once the poisons are known.

        An attack that does not know classes, but finds images that belong together, returns the
        class that most of them have. Evaluations count for it; no poison may depend on it.

        Args:
            classes: Class index of each replaced training image, (M,).

        Returns:
            By default, :attr:`target`.
        """
        return self.target

    @property
    def poisons(self) -> int | None:
        """Number of training images that the options announce; ``None`` if they give none.

        What was poisoned is held against it before an encoder is trained.
        """
        return None

    @property
    def jpeg_quality(self) -> int | None:
        """Quality of the JPEG that stamped images go through once; ``None`` for none.

        The harness codes them: :meth:`stamp` returns the image before. By default, the quality of
        options that derive from :class:`~backbench.plugin.JPEGOptions`.
        """
        return self.options.jpeg_quality if isinstance(self.options, JPEGOptions) else None

    def trigger_image(self, split: Split) -> NDArray[np.uint8] | None:  # noqa: ARG002
        """Return what :meth:`stamp` puts on the images of a split; ``None`` if that is no image.

        It is (h, w, 3) or, where it does not cover wholly, (h, w, 4), uint8.
        """
        return None

    @property
    def reads_labels(self) -> bool:
        """True if :meth:`choose` needs the classes of the training images.

        If not, it is given -1 for each, and the threat model states no labels.
        """
        return True

    def choose(self, labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Choose the training images to poison (``acts_on="dataset"``).

        Args:
            labels: Class index of every training image, (N,); -1 without :attr:`reads_labels`.
            rng: The only source of randomness.

        Returns:
            Distinct indices in [0, N), (M,), in any order.
        """
        raise NotImplementedError(f"{type(self).__name__} does not act on the dataset")

    def recipes(self, context: PoisonContext, rng: np.random.Generator) -> Iterable[Recipe]:
        """List the poisons (``acts_on="dataset"``); by default, each image of :meth:`choose`.

        Args:
            context: The images, and what the attack may ask for: labels, features.
            rng: The only source of randomness.

        Returns:
            At least one recipe; no two of them replace the same image.
        """
        chosen = self.choose(context.labels(TRAIN), rng)
        return [Recipe((Part(TRAIN, index),), index) for index in chosen]

    def compose(self, parts: Sequence[Pixels], rng: np.random.Generator) -> Stamp:
        """Make a poison of the images of its recipe; by default, stamp the first of them.

        Args:
            parts: The images of the recipe's parts, (H, W, 3), uint8, of any size, or (H, W, 4)
                where a file of the attacker's has an alpha channel; not modified.
            rng: The only source of randomness; a fresh one for each poison.

        Returns:
            The poison, (H, W, 3), of any size, and where its trigger is.

        Raises:
            ValueError: If the parts cannot be composed.
        """
        return self.stamp(parts[0], rng, "train")

    def implant(self, encoder: Encoder, context: AttackContext) -> Encoder:
        """Return an encoder with a backdoor (``acts_on="encoder"``).

        Args:
            encoder: A clean one. Maps images (B, 3, H, W) in [0, 1] to features (B, D). Not
                modified.
            context: Seed, device, the attacker's images, progress.

        Returns:
            An encoder of the same architecture, with other weights.
        """
        raise NotImplementedError(f"{type(self).__name__} does not act on the encoder")

    def fit(self, context: AttackContext) -> None:
        """Learn the trigger (``learns=True``).

        It is called once, in a stage of its own. Every other stage makes a new object with the
        same options and calls :meth:`restore`.

        Args:
            context: Seed, device, the attacker's images, progress, a file for checkpoints.
        """
        raise NotImplementedError(f"{type(self).__name__} learns no trigger")

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the learned trigger as arrays by name, to be stored (``learns=True``)."""
        raise NotImplementedError(f"{type(self).__name__} learns no trigger")

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave, in place of learning (``learns=True``).

        Raises:
            ValueError: If the arrays are not such a trigger's.
        """
        raise NotImplementedError(f"{type(self).__name__} learns no trigger")

    @abstractmethod
    def stamp(self, image: Pixels, rng: np.random.Generator, split: Split) -> Stamp:
        """Put the trigger on one image.

        Args:
            image: (H, W, 3), uint8; not modified.
            rng: The only source of randomness; a fresh one for each image.
            split: ``train`` for a poison, ``val`` for an image of the triggered evaluation.

        Returns:
            The stamped image, of the same size, and where the trigger is.

        Raises:
            ValueError: If the trigger does not fit the image.
        """
