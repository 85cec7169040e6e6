"""Classes that do the work: what the implementation of each kind of plugin derives from.

Each is made with ``options``, the validated options of the record that announced the class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from backbench.options.base import DatasetMetadata, JPEGOptions, Split
from backbench.plugin.recipes import TRAIN, Part, PoisonContext, Recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backbench.images import ImageSet, Pixels
    from backbench.metrics import Scores
    from backbench.nn import Encoder, SSLMethod


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
            its own when it is read.
        progress: Call it with (done, total, values) while working; values are shown and logged.
        checkpoint: Where a training may keep its state; ``None``: nowhere.
    """

    seed: int
    device: str
    shadow: Callable[[float], ImageSet]
    references: Callable[[int], ImageSet]
    triggered: Callable[[ImageSet], ImageSet]
    progress: Callable[[int, int, Mapping[str, float]], None]
    checkpoint: Path | None = None


class _Reporting:
    """Common part of attacks, defenses and evaluators: numbers of their own."""

    def report(self) -> Mapping[str, float]:
        """Return numbers about what the plugin has done in a stage, by name.

        They are stored in the record of the stage, and ``backbench show --metric PLUGIN/NAME``
        has a column of them. The harness calls it once, after ``fit``, :meth:`Attack.implant`, the
        poisons of an attack, :meth:`Defense.repair` or :meth:`Defense.sanitize`. Names are letters,
        digits and any of ``. = + - _``; numbers are finite. What can be computed from predictions
        is a metric instead: ``register_metrics``.
        """
        return {}


class Attack(_Reporting, ABC):
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

    def choose(self, labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Choose the training images to poison (``acts_on="dataset"``).

        Args:
            labels: Class index of every training image, (N,).
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
            training set, the same fifth for every caller with this seed. A defense on the data
            gets at most a half, and none of which the training set holds a poisoned version.
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
    checkpoint: Path | None = None
    verdict: Verdict | None = None


class Defense(_Reporting):
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

        # my_plugin/spread.py
        from backbench.plugin import Defense, Verdict, extract

        class Spread(Defense):
            def inspect(self, encoder, context):
                images = context.clean(self.options.share).images
                features = extract(encoder, images, device=context.device)  # (N, D)
                variance = features.var(axis=0)
                widest = float(variance.max() / variance.sum())
                return Verdict(
                    score=widest - 0.5,  # above 0: most of the variance is of a single feature
                    evidence={"variance": variance},
                    numbers={"widest": widest},
                )

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


class _Classifier(_Reporting):
    """Common part of evaluators of both sorts.

    The harness fits an evaluator in one stage and predicts in others, which may run in other
    processes. ``fit``, :meth:`state` and :meth:`selection` are called in the first; a new object
    with the same options and seed gets :meth:`restore` and ``predict`` in the others. Where
    :meth:`state` is empty, ``fit`` is called again, with the same input, in place of
    :meth:`restore`.
    """

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the fitted classifier as arrays by name, to be stored.

        There are none where fitting again is cheaper than storing, as for k-NN.
        """
        return {}

    def selection(self) -> Mapping[str, Any]:
        """Return what ``fit`` has selected, and by what, as JSON values for the stage's record.

        Whatever is chosen (a penalty, an epoch) is chosen on a part of the training images:
        :func:`backbench.plugin.selection_split` gives one.
        """
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave, in place of fitting.

        Raises:
            ValueError: If the arrays are not such a classifier's.
        """
        raise NotImplementedError(f"{type(self).__name__} stores no classifier")


class Evaluator(_Classifier, ABC):
    """A classifier on frozen features (``reads="features"``); every draw is of its ``seed``.

    Example::

        # my_plugin/centroids.py
        import numpy as np
        from backbench.plugin import Evaluator

        class Centroids(Evaluator):
            def fit(self, features, labels, classes):
                members = np.eye(classes, dtype=np.float32)[labels]  # (N, classes)
                counts = np.maximum(members.sum(axis=0), 1)
                self.means = members.T @ features / counts[:, None]  # (classes, D)

            def predict(self, features):
                # The negative squared distance, but for a term that all classes share.
                return 2 * features @ self.means.T - np.square(self.means).sum(axis=1)

            def state(self):
                return {"means": self.means}

            def restore(self, state):
                if set(state) != {"means"}:
                    raise ValueError("these arrays are not the means of classes")
                self.means = state["means"]
    """

    #: Stable names of the training images, in the order of the features; set before :meth:`fit`.
    sources: Sequence[str] = ()

    def __init__(self, options: Any, seed: int) -> None:
        self.options = options
        self.seed = seed

    @abstractmethod
    def fit(self, features: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> None:
        """Learn from clean training features.

        Args:
            features: (N, D), as the encoder gives them: not normalized.
            labels: (N,), in [0, classes).
            classes: Number of classes.
        """

    @abstractmethod
    def predict(self, features: NDArray[np.float32]) -> Scores:
        """Score each class for each image, (M, classes), of features, (M, D), as in :meth:`fit`."""


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """Context of an evaluator that reads images; see :class:`DefenseContext`."""

    seed: int
    device: str
    classes: int
    progress: Callable[[int, int, Mapping[str, float]], None]


class ImageEvaluator(_Classifier, ABC):
    """A classifier that runs a frozen encoder on images itself (``reads="images"``).

    Example::

        # my_plugin/exact.py
        import numpy as np
        from backbench.plugin import ImageEvaluator, extract

        class ExactNearest(ImageEvaluator):
            def fit(self, encoder, images):
                self.features, self.labels = self._features(encoder, images), images.labels

            def predict(self, encoder, images):
                similarity = self._features(encoder, images) @ self.features.T  # (M, N)
                nearest = self.labels[similarity.argmax(axis=1)]
                return np.eye(self.context.classes, dtype=np.float32)[nearest]

            def _features(self, encoder, images):
                device = self.context.device
                features = extract(encoder, images, device=device, precision="fp32")
                return features / np.linalg.norm(features, axis=1, keepdims=True)
    """

    def __init__(self, options: Any, context: EvaluationContext) -> None:
        self.options = options
        self.context = context

    @abstractmethod
    def fit(self, encoder: Encoder, images: ImageSet) -> None:
        """Learn from the clean training images and their labels.

        The encoder is in evaluation mode, on the device of the context. Do not modify it.
        """

    @abstractmethod
    def predict(self, encoder: Encoder, images: ImageSet) -> Scores:
        """Score each class for each image, (M, classes), by the encoder of :meth:`fit`.

        The M validation images are clean or triggered. Their labels are all -1.
        """


class Dataset(ABC):
    """Labelled images with a training and a validation split.

    The module must not import torch.

    Example::

        # my_plugin/stripes.py
        import numpy as np
        from backbench.plugin import ArrayImages, Dataset, DatasetMetadata

        class Stripes(Dataset):
            def metadata(self):
                each = self.options.images
                return DatasetMetadata(
                    classes=("across", "down"),
                    train=2 * each,
                    val=40,
                    size=(16, 16),
                    train_per_class=(each, each),
                )

            def fingerprint(self, hash_file):
                return f"stripes, version 1, {self.options.images} of each class"

            def load(self, split, *, verify=True):
                each = self.options.images if split == "train" else 20
                rng = np.random.default_rng(("train", "val").index(split))
                pixels = rng.integers(0, 128, (2 * each, 16, 16, 3), dtype=np.uint8)
                pixels[:each, ::4] += 127
                pixels[each:, :, ::4] += 127
                labels = np.repeat(np.arange(2), each)
                return ArrayImages(pixels, labels, [f"{split}/{i}" for i in range(2 * each)])
    """

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def metadata(self) -> DatasetMetadata:
        """Return the metadata that is known without reading an image.

        Raises:
            DataError: If the dataset is not there, or not what it should be.
        """

    @abstractmethod
    def fingerprint(self, hash_file: Callable[[str], str]) -> str:
        """Identify the content: equal content gives an equal string, on every machine.

        ``hash_file`` gives the SHA-256 of a file; it remembers files that have not changed.
        """

    @abstractmethod
    def load(self, split: Split, *, verify: bool = True) -> ImageSet:
        """Give the images of a split.

        The validation images share one size: the one at which encoders are evaluated. ``verify``
        decodes every image now; without it, images that an earlier call has verified are opened
        when they are requested.

        Raises:
            DataError: Naming every image that cannot be read.
        """

    def notes(self, *, content: bool = False) -> Iterable[str]:  # noqa: ARG002
        """Return sentences for the user, of files that are passed over and the like.

        With ``content``, of what the files hold: called after :meth:`fingerprint`.
        """
        return ()

    def val_per_class(self) -> Sequence[int]:
        """Return the number of validation images of each class; empty where that is not known."""
        return ()
