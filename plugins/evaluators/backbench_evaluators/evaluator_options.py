"""Options of the evaluators. No torch, no faiss."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import field_validator, model_validator

from backbench.plugin import (
    BackboneOptions,
    DatasetMetadata,
    EvaluatorOptions,
    Field,
    LocalPath,
    OptimizerOptions,
    ScheduleOptions,
    ViewOptions,
    ViewTrainingOptions,
    count_of,
    read_failure,
    read_text,
    refuse_unread,
)

_LABELS = (
    "share of each class's clean training images whose labels are used, at "
    "least one image (the paper: 0.01 and 0.1)"
)


#: Most characters of a list of labelled images; ImageNet's images by name are 30 million.
MOST_CHARACTERS = 1 << 26


def _checked(given: Any, fits: Callable[[Any], bool], wanted: str) -> Any:
    """Return a number or a list; of a wrong value, raise one error, not one for each type."""
    several = given if isinstance(given, list | tuple) else [given]
    if not several or not all(fits(one) for one in several):
        raise ValueError(f"should be {wanted}, or a list of such numbers")
    if len(set(several)) < len(several):
        raise ValueError("lists a number twice")
    return given


class LabelledOptions(EvaluatorOptions):
    """The number of labels that an evaluator is given."""

    label_fraction: float = Field(1.0, gt=0, le=1, description=_LABELS)
    labels: LocalPath | None = Field(
        None,
        description="file that names the labelled images, one a line, as a path below the dataset "
        "or the end of such a path; label_fraction does not count then",
    )

    @field_validator("labels")
    @classmethod
    def _lists_images(cls, path: Path | None) -> Path | None:
        if path is not None:
            names_in(path)
        return path

    def labelled(self, data: DatasetMetadata) -> int:
        """Return how many labels are used."""
        if self.labels is not None:
            return len(names_in(self.labels))
        return sum(labels_of_class(count, self.label_fraction) for count in data.train_per_class)


class ClassifierOptions(LabelledOptions):
    """Options of all linear classifiers."""

    label_fraction: float = Field(0.1, gt=0, le=1, description=_LABELS)

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Yield why these options cannot work on a dataset."""
        if len(data.classes) < 2:
            yield "a classifier needs at least two classes"


class SGDOptions(ClassifierOptions):
    """Options of the evaluations with the published SGD."""

    epochs: int = Field(40, ge=1, description="passes of sgd over the labelled images")
    batch_size: int = Field(
        256, ge=1, description="images a step of sgd; the last batch may be smaller"
    )
    lr: float = Field(0.01, gt=0, description="learning rate of sgd in the first epoch")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    milestones: tuple[int, ...] = Field(
        (15, 30), description="epochs from which on the rate is multiplied by gamma"
    )

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of SGD in an epoch, counted from 0."""
        gamma: float = getattr(self, "gamma", 0.1)
        return self.lr * gamma ** sum(epoch >= milestone for milestone in self.milestones)


_Penalty = Annotated[float, Field(ge=0)]


class LinearOptions(SGDOptions):
    """Options of the linear evaluation."""

    #: True if features are scaled to length 1, then standardized.
    normalized: ClassVar[bool] = True

    solver: Literal["lbfgs", "sgd"] = Field(
        "lbfgs",
        description="lbfgs: the minimum of the penalised cross-entropy, whatever the number of "
        "images; sgd: the published 40 epochs, which need some thousands of images",
    )
    penalty: _Penalty | tuple[_Penalty, ...] = Field(
        1e-4,
        description="L2 penalty of the weights, as SGD's weight_decay: ½ · this · w²; of a list, "
        "that is taken whose classifier is best on a fifth of the labelled training images, "
        "which it has not seen, and fitted again on all",
    )
    max_iterations: int = Field(500, ge=1, description="most iterations of lbfgs")
    milestones: tuple[int, ...] = Field(
        (15, 30, 40), description="epochs from which on sgd's rate is divided by 10"
    )

    @model_validator(mode="after")
    def _used(self) -> Self:
        refuse_unread(self, "solver", _READERS)
        return self

    @field_validator("penalty", mode="before")
    @classmethod
    def _penalties(cls, penalty: Any) -> Any:
        def fits(one: Any) -> bool:
            is_number = isinstance(one, int | float) and not isinstance(one, bool)
            return is_number and 0 <= one < math.inf

        return _checked(penalty, fits, "a number of at least 0")

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Yield why these options cannot work on a dataset."""
        yield from super().problems(data)
        most = max(labels_of_class(one, self.label_fraction) for one in data.train_per_class)
        if isinstance(self.penalty, tuple) and most < 2:
            yield (
                "penalty: no class has two labelled images, and a list holds out one of them: "
                "give one number, or a greater label_fraction"
            )


#: Solvers that read an option which the other does not.
_READERS: Final = {
    **dict.fromkeys(("epochs", "batch_size", "lr", "momentum", "milestones"), ("sgd",)),
    "max_iterations": ("lbfgs",),
}


class RawOptions(ClassifierOptions):
    """Options of the linear evaluation on features as they are."""

    normalized: ClassVar[bool] = False
    solver: ClassVar[Literal["adam"]] = "adam"

    epochs: int = Field(500, ge=1, description="passes over the labelled features")
    batch_size: int = Field(
        1000, ge=1, description="features a step; a rest is left out; fewer features are one batch"
    )
    lr: float = Field(0.01, gt=0, description="learning rate of Adam in the first epoch")
    final_lr: float = Field(
        1e-6, gt=0, description="last learning rate, reached by the same factor after every epoch"
    )
    weight_decay: float = Field(
        5e-6, ge=0, description="L2 penalty, added to the gradient (coupled)"
    )

    @property
    def penalty(self) -> float:
        """L2 penalty of the weights."""
        return self.weight_decay

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        return self.lr * float((self.final_lr / self.lr) ** (epoch / self.epochs))


class FrozenOptions(SGDOptions):
    """Training of linear layers on fresh views of the images, seen by a frozen encoder."""

    nesterov: bool = Field(default=False, description="Nesterov's momentum")
    weight_decay: float = Field(1e-4, ge=0, description="L2 penalty, added to the gradient")
    gamma: float = Field(0.1, gt=0, le=1, description="factor of a milestone")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov = true requires momentum > 0")
        return self


class CachedOptions(FrozenOptions):
    """Options of the linear evaluation on crops that are seen several times."""

    views: int = Field(
        8, ge=1, description="crops of each image, computed once; an epoch sees one, in turn"
    )


class ProbeOptions(FrozenOptions):
    """Options of the probe of an encoder's stages."""

    pool: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (12, 12, 8, 6, 4),
        min_length=1,
        description="side that the map of each stage is averaged to, from the stem on; a smaller "
        "map stays as it is, and stages beyond the last number have that number",
    )
    batch_norm: bool = Field(
        default=False, description="normalize each channel of the averaged maps over the batch"
    )
    start: Literal["uniform", "normal"] = Field(
        "uniform",
        description="weights at the start: uniform: ± 1/√inputs, biases too; normal: of standard "
        "deviation √(2/classes), biases 0",
    )
    views: Literal["resized-crop", "crop"] = Field(
        "resized-crop",
        description="resized-crop: a random 8 to 100 % of the image's area, resized; crop: a "
        "random square of the image resized to 256/224 of the side; both mirrored half the time",
    )

    def encoder_problems(self, backbone: BackboneOptions) -> Iterator[str]:
        """Yield why these options cannot work on a backbone."""
        if not backbone.has_stages:
            yield (
                f"the stages of {backbone.name!r} are not known: a probe of its stages needs "
                "'tiny-resnet' or a ResNet of torchvision"
            )


class FineTuneOptions(ClassifierOptions, ViewTrainingOptions):
    """Options of the fine-tuning of a whole encoder."""

    epochs: int = Field(30, ge=1, description="passes over the labelled images")
    last_batch: Literal["drop", "keep"] = Field(
        "keep", description="what becomes of an epoch's last batch where it is not full"
    )
    optimizer: OptimizerOptions = Field(
        OptimizerOptions(lr=0.05, nesterov=True, weight_decay=0),
        description="how the weights are updated",
    )
    schedule: ScheduleOptions = Field(
        ScheduleOptions(per="step"), description="how the learning rate changes"
    )
    views: ViewOptions = Field(
        ViewOptions(scale=(0.08, 1.0), jitter=0, grayscale=0, blur=0),
        description="the view of an image that is learned from",
    )
    knn_evaluations: int = Field(
        0, ge=0, description="how often k-NN accuracy is logged in the course of the training"
    )

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Yield why these options cannot work on a dataset."""
        yield from super().problems(data)
        yield from self.training_problems(self.labelled(data))


_Neighbors = Annotated[int, Field(ge=1)]


class KNNOptions(LabelledOptions):
    """Options of the k-NN evaluation."""

    k: _Neighbors | tuple[_Neighbors, ...] = Field(
        50,
        description="number of neighbors that vote (the paper: 1 and 50); of a list, each number "
        "is a variant, and a row of the leaderboard",
    )

    @field_validator("k", mode="before")
    @classmethod
    def _numbers(cls, k: Any) -> Any:
        def fits(one: Any) -> bool:
            return isinstance(one, int) and one >= 1

        return _checked(k, fits, "a whole number of at least 1")

    @property
    def largest(self) -> int:
        """The largest number of neighbors."""
        return max(self.k) if isinstance(self.k, tuple) else self.k

    def problems(self, data: DatasetMetadata) -> Iterable[str]:
        """Yield why these options cannot work on a dataset."""
        count = self.labelled(data)
        if self.largest > count:
            yield (
                f"k = {self.largest} is more than the {count} labelled images: "
                f"set it to at most {count}"
            )


def names_in(path: Path) -> list[str]:
    """Return the names of images in a file, one a line; blank lines do not count.

    Raises:
        ValueError: If the file cannot be read, is empty, or names an image twice.
    """
    try:
        lines = [line.strip() for line in read_text(path, MOST_CHARACTERS).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {read_failure(error)}") from error
    names = [line for line in lines if line]
    if not names:
        raise ValueError(f"{path}: names no image")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{path}: names {name!r} {count} times")
    return names


def labels_of_class(count: int, fraction: float) -> int:
    """Return how many of a class's images are labelled: none of none, else at least one.

    A share is rounded down, as the published lists and ``backbench data filelist`` do.
    """
    return min(count, max(1, count_of(fraction, count)))
