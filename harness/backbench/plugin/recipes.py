"""Recipes of poisons: the images that a poison is made of, and its place in the training set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backbench.images import ImageSet, Labels

#: Prefix of the role of a dataset that an option of an attack names.
SET: Final = "set:"

#: Name of the training set among the sets of an attack.
TRAIN: Final = "train"


@dataclass(frozen=True, slots=True)
class Part:
    """An image that a poison is made of: the name of its set, and its index in that set."""

    set: str
    index: int


class Recipe(NamedTuple):
    """The images that a poison is made of, and its place in the training set.

    Args:
        parts: At least one image.
        replaces: Index of the training image whose place it takes; ``None``: it is added.
    """

    parts: tuple[Part, ...]
    replaces: int | None


@dataclass(frozen=True, slots=True)
class PoisonContext:
    """Context of an attack on a dataset. The parts that it requests are its threat model.

    Args:
        sets: Images by the name of their set, without labels. ``train`` is the training set;
            every other set is an option of the attack: a :data:`~backbench.plugin.DatasetName` or
            an :data:`~backbench.plugin.ImagesPath`.
        labels: Gives the class index of every image of a set, (N,): ``labels("train")``.
        features: Gives the features of every training image, (N, D), float32, under a clean
            encoder of the cell's method; of an attack that states ``reads_encoder=True``.
    """

    sets: Mapping[str, ImageSet]
    labels: Callable[[str], Labels]
    features: Callable[[], NDArray[np.float32]]
