"""What a plugin is: light records that say *who is there*, and classes that do the work.

A plugin package implements the hooks of :mod:`backbench.hookspecs`. Each hook returns info
records; the class that a record points at is imported when a stage needs it, so that a
package's entry-point module stays free of torch::

    from collections.abc import Iterable

    from backbench.plugin import AttackInfo, Field, Options, hookimpl


    class CheckerOptions(Options):
        target: str = Field(description="class that the trigger shall stand for")


    @hookimpl
    def register_attacks() -> Iterable[AttackInfo]:
        yield AttackInfo(
            name="checker",
            summary="A checkerboard on some pictures of one class.",
            target="my_package.checker:Checker",
            options=CheckerOptions,
        )
"""

from __future__ import annotations

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import pluggy
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from backbench.images import ImageSet, Pixels

if TYPE_CHECKING:
    from backbench.nn import Encoder
    from backbench.training_options import BackboneOptions

__all__ = [
    "API",
    "Attack",
    "AttackInfo",
    "Box",
    "Citation",
    "CleanImages",
    "Column",
    "Dataset",
    "DatasetFacts",
    "DatasetInfo",
    "Defense",
    "DefenseContext",
    "DefenseInfo",
    "EvaluationContext",
    "Evaluator",
    "EvaluatorInfo",
    "ExecutorInfo",
    "Field",
    "ImageEvaluator",
    "LocalPath",
    "MetricInfo",
    "NotInKey",
    "Options",
    "PluginInfo",
    "SSLMethodInfo",
    "Scores",
    "Stamp",
    "hookimpl",
    "presets_of",
]

#: Version of the interface in this module; a record made for another one is refused.
API = 1

hookimpl = pluggy.HookimplMarker("backbench")

Split = Literal["train", "val"]


class NotInKey:
    """Marks an option that changes no number: ``download: Annotated[bool, NotInKey()]``."""


def _absolute(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base", Path.cwd())
    return Path(base, path.expanduser()).absolute()


def _holds_path(annotation: Any) -> bool:
    if annotation is Path:
        return True
    return any(_holds_path(one) for one in getattr(annotation, "__args__", ()))


#: A path option, relative to the benchmark file. Where a file lies is never part of a stage's key;
#: if its *content* matters, a second option holds its hash.
LocalPath = Annotated[Path, AfterValidator(_absolute)]


class Options(BaseModel):
    """Base of every plugin's options: strict, frozen, and documented by their fields.

    Give each field a ``Field(description=...)`` and bounds: they appear in ``backbench plugins
    show``, in the JSON Schema, and in the errors of a benchmark file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def faults(self, data: DatasetFacts) -> Iterable[str]:  # noqa: ARG002
        """Say why these options cannot work on a data set.

        Args:
            data: What is known of the data set before anything runs.

        Returns:
            One sentence a fault; nothing where the options fit.
        """
        return ()

    def encoder_faults(self, backbone: BackboneOptions) -> Iterable[str]:  # noqa: ARG002
        """Say why an evaluator with these options cannot look through a backbone.

        Only evaluators are asked, of each backbone that they are to meet, before anything runs.

        Args:
            backbone: The backbone of the encoder, a method's or an imported one's.

        Returns:
            One sentence a fault; nothing where the options fit.
        """
        return ()

    def identity(self) -> dict[str, Any]:
        """Return the options that change numbers, as JSON values: what enters a stage's key.

        Paths, and what is marked :class:`NotInKey`, are left out, also of nested options.
        """
        keyed = self.model_dump(mode="json")
        for name, known in type(self).model_fields.items():
            value = getattr(self, name)
            place = isinstance(value, Path) or (value is None and _holds_path(known.annotation))
            if place or any(isinstance(mark, NotInKey) for mark in known.metadata):
                del keyed[name]
            elif isinstance(value, Options):
                keyed[name] = value.identity()
        return keyed


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a method comes from."""

    authors: str
    title: str
    venue: str
    year: int
    url: str = ""

    def __str__(self) -> str:
        return f"{self.authors}. {self.title}. {self.venue} {self.year}."


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What is known of a data set before any picture is read.

    Args:
        classes: Class names; the position is the class index.
        train: Number of training pictures.
        val: Number of validation pictures.
        size: Height and width that all pictures share; ``None`` where they differ.
        train_per_class: Number of training pictures of each class.
    """

    classes: tuple[str, ...]
    train: int
    val: int
    size: tuple[int, int] | None
    train_per_class: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """What every info record says.

    Args:
        name: Kebab-case, unique among the records of one kind.
        summary: One sentence.
        target: ``module:Class`` of the implementation, imported when a stage needs it; of a metric
            ``module:function``.
        options: The options' model.
        paper: Where the method comes from.
        revision: Raise it when numbers change: stages made by an older revision are redone.
        api: The value of :data:`API` that the plugin was written for.
        presets: Named option values; a benchmark file picks one with ``preset = "name"``.
    """

    kind: ClassVar[str]

    name: str
    summary: str
    target: str
    options: type[Options] = Options
    paper: Citation | None = None
    revision: int = 1
    api: int = API
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackInfo(PluginInfo):
    """Announces an :class:`Attack`."""

    kind: ClassVar[str] = "attack"


@dataclass(frozen=True, slots=True, kw_only=True)
class SSLMethodInfo(PluginInfo):
    """Announces a :class:`backbench.nn.SSLMethod`.

    Args:
        passes: How often a picture goes forward through a network at each step of the training:
            for two views through two networks, 4. It tells ``plan`` what a training costs.
    """

    kind: ClassVar[str] = "ssl-method"

    passes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenseInfo(PluginInfo):
    """Announces a :class:`Defense`.

    Args:
        acts_on: ``encoder`` if :meth:`Defense.repair` gives a new encoder; ``dataset`` if
            :meth:`Defense.sanitize` drops training pictures and the encoder is trained again.
        passes: As in :class:`SSLMethodInfo`, of a defense that trains.
    """

    kind: ClassVar[str] = "defense"

    acts_on: Literal["encoder", "dataset"]
    passes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorInfo(PluginInfo):
    """Announces an :class:`Evaluator` or an :class:`ImageEvaluator`.

    Args:
        reads: ``features`` if the class is an :class:`Evaluator`, on features that are computed
            once for all evaluators; ``images`` if it is an :class:`ImageEvaluator`, which sees the
            pictures and asks the encoder itself.
    """

    kind: ClassVar[str] = "evaluator"

    reads: Literal["features", "images"] = "features"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo(PluginInfo):
    """Announces a :class:`Dataset`. Its module must not import torch at module level."""

    kind: ClassVar[str] = "dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorInfo(PluginInfo):
    """Announces a :class:`backbench.execution.Executor`."""

    kind: ClassVar[str] = "executor"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo(PluginInfo):
    """Announces a metric that is computed from stored predictions: ``rescore --metric NAME``.

    Its target is a pure function ``(labels, clean, triggered, target, classes)``: true classes and
    predictions without and with the trigger, each (N,) int64, ``triggered`` being ``None`` without
    an attack; the index of the target class, ``None`` where there is none; the number of classes.
    It returns a finite number, or ``None`` where the metric has no meaning. Its module must not
    import torch.

    Args:
        title: Heading of the column; the name, if it is not given.
        best: Which end is best for a defender; ``None`` where neither is.
        decimals: Digits after the point: 3 for a fraction, 0 for a count.
        control: Show the control's value beside it.
        bounds: The least and the greatest value it can have, (0, 1) for a share: no interval leaves
            them; ``None`` where it has none.
    """

    kind: ClassVar[str] = "metric"

    title: str = ""
    best: Literal["high", "low"] | None = None
    decimals: int = 3
    control: bool = False
    bounds: tuple[float, float] | None = None

    @property
    def column(self) -> Column:
        """The metric's column of the leaderboard."""
        return Column(
            self.name,
            self.title or self.name,
            self.best,
            self.decimals,
            control=self.control,
            bounds=self.bounds,
        )


def presets_of(package: str, plugin: str) -> dict[str, dict[str, Any]]:
    """Read a plugin's presets from the TOML files ``presets/<preset>/<plugin>.toml``.

    Args:
        package: The package that has the folder ``presets``.
        plugin: Name of the plugin.

    Returns:
        Option values by preset, for :attr:`PluginInfo.presets`.
    """
    found = {}
    for folder in sorted(resources.files(package).joinpath("presets").iterdir(), key=str):
        file = folder.joinpath(f"{plugin}.toml")
        if file.is_file():
            found[folder.name] = tomllib.loads(file.read_text(encoding="utf-8"))
    return found


class Box(NamedTuple):
    """A rectangle in pixels: top-left corner, width, height."""

    x: int
    y: int
    width: int
    height: int


class Stamp(NamedTuple):
    """A picture with its trigger.

    Args:
        pixels: (H, W, 3), uint8.
        box: Where the trigger is; the whole picture if it is everywhere.
        opacity: Share of the trigger in the box: 1 hides the picture, 0 the trigger.
        others: Where else it is, in the order of pasting.
    """

    pixels: Pixels
    box: Box
    opacity: float
    others: tuple[Box, ...] = ()

    @property
    def boxes(self) -> tuple[Box, ...]:
        """All the places, in the order of pasting."""
        return (self.box, *self.others)


class Attack(ABC):
    """Chooses training pictures and stamps the trigger on them.

    Labels are never changed: self-supervised training does not see them.

    Args:
        options: The validated options of the record that announced this class.
        facts: The data set that is attacked.
    """

    def __init__(self, options: Any, facts: DatasetFacts) -> None:
        self.options = options
        self.facts = facts

    @property
    @abstractmethod
    def target(self) -> int | None:
        """Class index that the trigger shall stand for; ``None`` for an untargeted attack."""

    @property
    def jpeg_quality(self) -> int | None:
        """Quality of the JPEG that stamped pictures go through once; ``None`` for none.

        The harness does it: :meth:`stamp` gives what goes in.
        """
        return None

    def trigger_picture(self, split: Split) -> NDArray[np.uint8] | None:  # noqa: ARG002
        """Return what :meth:`stamp` puts on pictures; ``None`` if that is no picture.

        Args:
            split: Of which split.

        Returns:
            (h, w, 3) or, where it does not cover wholly, (h, w, 4), uint8.
        """
        return None

    @abstractmethod
    def choose(self, labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Choose the training pictures to poison.

        Args:
            labels: Class index of every training picture, (N,).
            rng: The only source of randomness.

        Returns:
            Distinct indices in [0, N), (M,), in any order.
        """

    @abstractmethod
    def stamp(self, image: Pixels, rng: np.random.Generator, split: Split) -> Stamp:
        """Put the trigger on one picture.

        Args:
            image: (H, W, 3), uint8; not modified.
            rng: The only source of randomness; a fresh one for each picture.
            split: ``train`` for a poison, ``val`` for a picture of the triggered evaluation.

        Returns:
            The stamped picture, of the same size, and where the trigger is.

        Raises:
            ValueError: If the trigger does not fit the picture.
        """


@dataclass(frozen=True, slots=True)
class CleanImages:
    """Pictures that a defense may trust: a stated fraction of the clean training set.

    Args:
        images: The pictures. Their labels are there too; a defense that uses them says so.
        fraction: Which share of the training set they are, in (0, 1].
    """

    images: ImageSet
    fraction: float


@dataclass(frozen=True, slots=True)
class DefenseContext:
    """What the harness gives to a defense besides its input.

    Args:
        seed: Seed of every draw of this stage.
        device: Name of the torch device to compute on.
        clean: Gives the pictures that may be trusted: ``clean(0.2)`` is a fifth of the clean
            training set, the same fifth for every caller with this seed. A defense on the data
            gets at most a half, and none of which the training set holds a poisoned version.
        progress: Call it with (done, total, values) while working; values are shown and logged.
        checkpoint: Where a training may keep its state, to go on from when it was stopped; hand
            it to :func:`backbench.runtime.training.train`. ``None``: nowhere.
    """

    seed: int
    device: str
    clean: Callable[[float], CleanImages]
    progress: Callable[[int, int, Mapping[str, float]], None]
    checkpoint: Path | None = None


class Defense:
    """Mends an encoder, or drops suspicious training pictures.

    A defense is never handed the attack or the list of poisoned pictures: no type here has a
    field for them.

    Args:
        options: The validated options of the record that announced this class.
    """

    def __init__(self, options: Any) -> None:
        self.options = options

    def repair(self, encoder: Encoder, context: DefenseContext) -> Encoder:
        """Return a mended encoder (``acts_on="encoder"``).

        Args:
            encoder: Maps images (B, 3, H, W) in [0, 1] to features (B, D). Not modified.
            context: Seed, device, clean pictures, progress.

        Returns:
            An encoder of the same architecture.
        """
        raise NotImplementedError(f"{type(self).__name__} does not act on the encoder")

    def sanitize(
        self, encoder: Encoder, images: ImageSet, context: DefenseContext
    ) -> NDArray[np.float64]:
        """Score training pictures by suspicion (``acts_on="dataset"``).

        Args:
            encoder: An encoder trained on ``images``.
            images: The training set as it was found, poisons included. Its labels are all -1.
            context: Seed, device, clean pictures, progress.

        Returns:
            A score for each picture, (N,): those above 0 are dropped, and higher is more
            suspicious.
        """
        raise NotImplementedError(f"{type(self).__name__} does not act on the data set")


#: What a classifier says of M pictures: scores (M, classes), or one such table by head where it has
#: several heads. The prediction is the class with the highest score, the first among equals.
Scores = NDArray[np.float32] | Mapping[str, NDArray[np.float32]]


class _Classifier:
    """What evaluators of both sorts have: a head that can be kept, and be used again."""

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return what :meth:`fit` has learnt, as named arrays; it is kept as the head's file.

        Returns:
            Nothing, where there is no head to keep.
        """
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what :meth:`state` gave in place of learning.

        Args:
            state: The arrays of a head's file.

        Raises:
            ValueError: If they are not such a head's.
        """
        raise NotImplementedError(f"{type(self).__name__} has no head that could be restored")


class Evaluator(_Classifier, ABC):
    """A classifier on frozen features (``reads="features"``).

    Args:
        options: The validated options of the record that announced this class.
        seed: Seed of every draw.
    """

    def __init__(self, options: Any, seed: int) -> None:
        self.options = options
        self.seed = seed

    @abstractmethod
    def fit(self, features: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> None:
        """Learn from clean training features.

        Args:
            features: (N, D), as the encoder gives them: not normalised.
            labels: (N,), in [0, classes).
            classes: Number of classes.
        """

    @abstractmethod
    def predict(self, features: NDArray[np.float32]) -> Scores:
        """Score each class for each picture.

        Args:
            features: (M, D), as the encoder gives them.

        Returns:
            Scores, (M, classes), or those of each head by its name.
        """


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """What the harness gives to an evaluator that reads pictures.

    Args:
        seed: Seed of every draw.
        device: Name of the torch device to compute on.
        classes: Number of classes.
        progress: Call it with (done, total, values) while working; values are shown and logged.
        uniform: True where all pictures of the data set share one size, also if they are too many
            to be in memory, for :func:`backbench.runtime.features.extract`.
    """

    seed: int
    device: str
    classes: int
    progress: Callable[[int, int, Mapping[str, float]], None]
    uniform: bool | None = None


class ImageEvaluator(_Classifier, ABC):
    """A classifier that asks a frozen encoder about pictures itself (``reads="images"``).

    Args:
        options: The validated options of the record that announced this class.
        context: Seed, device, number of classes, progress.
    """

    def __init__(self, options: Any, context: EvaluationContext) -> None:
        self.options = options
        self.context = context

    @abstractmethod
    def fit(self, encoder: Encoder, images: ImageSet) -> None:
        """Learn from the clean training pictures.

        Args:
            encoder: In evaluation mode, on the device of the context. Not modified.
            images: The clean training set, with its labels.
        """

    @abstractmethod
    def predict(self, encoder: Encoder, images: ImageSet) -> Scores:
        """Score each class for each picture.

        Args:
            encoder: The encoder that :meth:`fit` was given.
            images: M validation pictures, clean or triggered. Their labels are all -1.

        Returns:
            Scores, (M, classes), or those of each head by its name.
        """


class Dataset(ABC):
    """Labelled pictures with a training and a validation split.

    Args:
        options: The validated options of the record that announced this class.
    """

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def facts(self) -> DatasetFacts:
        """Say what is known without reading a picture.

        Raises:
            DataError: If the data set is not there, or not what it should be.
        """

    @abstractmethod
    def fingerprint(self, hash_file: Callable[[str], str]) -> str:
        """Identify the content: equal content gives an equal string, on every machine.

        Args:
            hash_file: Gives the SHA-256 of a file; it remembers files that have not changed.
        """

    @abstractmethod
    def load(self, split: Split, *, verify: bool = True) -> ImageSet:
        """Give the pictures of a split.

        The validation pictures share one size: the one at which encoders are evaluated.

        Args:
            split: Which one.
            verify: Decode every picture now. Without it, pictures that an earlier call has
                verified are opened when they are asked for.

        Raises:
            DataError: Naming every picture that cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the leaderboard.

    Args:
        metric: Name of the metric that evaluation records carry, ``asr`` or ``accuracy/clean``.
        title: Heading.
        best: Which end is best for a defender; ``None`` where neither is.
        decimals: Digits after the point: 3 for a fraction, 0 for a count.
        control: Show the control's value beside it.
        bounds: The least and the greatest value it can have; ``None`` where it has none, or the
            harness knows.
    """

    metric: str
    title: str
    best: Literal["high", "low"] | None = None
    decimals: int = 3
    control: bool = False
    bounds: tuple[float, float] | None = None
