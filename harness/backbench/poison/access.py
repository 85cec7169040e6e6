"""Access of an attack on a dataset: the sets of images, and what it requests of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbench.errors import ResultError
from backbench.images import ImageSet, Labels, Unlabelled, read_only
from backbench.plugin import PoisonContext
from backbench.plugin.recipes import TRAIN

_NONE: Mapping[str, Callable[[], ImageSet]] = {}


class Access:
    """Gives an attack what it requests, and remembers it: the attack's threat model.

    Args:
        train: The clean training images, as the attack meets them.
        others: Opens each further set of images, by name.
        features: Computes the features of the training images under a clean encoder, (N, D);
            ``None`` where the attack does not read one.
    """

    def __init__(
        self,
        train: ImageSet,
        others: Mapping[str, Callable[[], ImageSet]] = _NONE,
        features: Callable[[], NDArray[np.float32]] | None = None,
    ) -> None:
        self.images = len(train)
        self.names = (TRAIN, *others)
        self._opened: dict[str, ImageSet] = {TRAIN: train}
        self._others, self._features = others, features
        self._labels: list[str] = []
        self._has_features = False

    def set(self, name: str) -> ImageSet:
        """Return a set with its labels; a KeyError if there is none of this name."""
        if name not in self._opened:
            self._opened[name] = self._others[name]()
        return self._opened[name]

    def labels(self, name: str) -> Labels:
        """Return the class index of every image of a set, (N,)."""
        if name not in self.names:
            raise ResultError(
                f"the attack asks for the labels of {name!r}: its sets are {', '.join(self.names)}"
            )
        if name not in self._labels:
            self._labels.append(name)
        labels: Labels = read_only(self.set(name).labels)
        return labels

    def features(self) -> NDArray[np.float32]:
        """Return the features of every training image under a clean encoder, (N, D)."""
        if self._features is None:
            raise ResultError(
                "the attack asks for features: its AttackInfo must state reads_encoder=True"
            )
        self._has_features = True
        return read_only(self._features())

    def context(self) -> PoisonContext:
        """Return what the attack is handed."""
        return PoisonContext(_Sets(self), self.labels, self.features)

    @property
    def threat(self) -> dict[str, Any]:
        """The requests of the attack so far, as JSON values.

        ``labels`` names the sets, ``sets`` has the number of images of each further set, and
        ``features`` is true if it has seen features of a clean encoder.
        """
        opened = {name: len(one) for name, one in self._opened.items() if name != TRAIN}
        return {"labels": self._labels, "sets": opened, "features": self._has_features}


class _Sets(Mapping[str, ImageSet]):
    """The sets without their labels, each opened when it is first asked for."""

    def __init__(self, access: Access) -> None:
        self._names = access.names
        self._opened: dict[str, ImageSet] = {}
        self._open = access.set

    def __getitem__(self, name: str) -> ImageSet:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._opened:
            self._opened[name] = Unlabelled(self._open(name))
        return self._opened[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
