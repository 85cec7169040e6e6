"""Base of attacks that poison images of their target class and keep the labels."""

from __future__ import annotations

from abc import ABC
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backbench.plugin import Attack
from backbench_attacks.rate import Rate


class _Options(Protocol):
    @property
    def target(self) -> str: ...

    @property
    def rate(self) -> Rate: ...


class CleanLabelAttack(Attack, ABC):
    """Poisons a number of images of the target class; its options have ``target`` and ``rate``."""

    options: _Options

    @property
    def target(self) -> int:
        """Class index that the trigger stands for."""
        return self.metadata.classes.index(self.options.target)

    @property
    def poisons(self) -> int:
        """Number of training images that the rate gives."""
        candidates = self.metadata.train_per_class[self.target]
        return self.options.rate.count(candidates, self.metadata.train)

    def choose(self, labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Choose from the target class; see :meth:`backbench.plugin.Attack.choose`."""
        candidates = np.flatnonzero(labels == self.target)
        count = self.options.rate.count(len(candidates), len(labels))
        return rng.permutation(candidates)[:count].astype(np.int64)
