"""The matrix of a benchmark file and its profiles: which cells they select."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from backbench.model import NONE, Axis, CellName, Origin

_NO_ORIGINS: Final[Mapping[str, Origin]] = {}


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_many), Field(min_length=1)]
Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, strict=True)], ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
]

#: Most cells that the matrices of a file name, before any is excluded; more take a plan minutes.
MOST_CELLS: Final = 200_000


class Table(BaseModel):
    """Base of the tables of a benchmark file."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Filter(Table):
    """Some names of some axes; an axis that is not given is not restricted."""

    datasets: Names | None = Field(None, description="dataset instances")
    downstreams: Names | None = Field(None, description="dataset instances, or 'none'")
    attacks: Names | None = Field(None, description="attack instances, or 'none'")
    methods: Names | None = Field(None, description="SSL method instances")
    defenses: Names | None = Field(None, description="defense instances, or 'none'")
    evaluators: Names | None = Field(None, description="evaluator instances")
    seeds: Seeds | None = Field(None, description="seeds")

    def holds(self, cell: CellName) -> bool:
        """Return whether a cell's names are all among those given."""
        if self.seeds is not None and cell.seed not in self.seeds:
            return False
        return all(
            (allowed := getattr(self, axis.plural)) is None or getattr(cell, axis) in allowed
            for axis in Axis
        )


def any_holds(rules: Sequence[Filter]) -> Callable[[CellName], bool]:
    """Return a function that returns whether any of many filters holds for a cell.

    A filter is a bit of an integer: of a value, the filters that it satisfies. So five thousand
    filters take hardly longer than one.
    """
    if not rules:
        return lambda _cell: False
    tables: list[tuple[str, dict[Any, int], int]] = []
    for name, plural in (*((str(axis), axis.plural) for axis in Axis), ("seed", "seeds")):
        allowed = [getattr(rule, plural) for rule in rules]
        free = int("".join("01"[one is None] for one in reversed(allowed)), 2)
        bits: dict[Any, int] = {}
        for position, values in enumerate(allowed):
            for value in values or ():
                bits[value] = bits.get(value, free) | 1 << position
        tables.append((name, bits, free))

    def holds(cell: CellName) -> bool:
        left = -1
        for name, bits, free in tables:
            left &= bits.get(getattr(cell, name), free)
            if not left:
                return False
        return True

    return holds


class Profile(Filter):
    """A named part of the matrix: ``--profile quick``."""

    description: str = Field("", description="what the profile is for")
    exclude: tuple[Filter, ...] = Field((), description="cells to leave out")

    def holds(self, cell: CellName) -> bool:
        """Return whether a cell belongs to the profile."""
        return Filter.holds(self, cell) and not self._excludes(cell)

    @cached_property
    def _excludes(self) -> Callable[[CellName], bool]:
        return any_holds(self.exclude)


class Matrix(Table):
    """A product of instances, less what is excluded."""

    datasets: Names = Field(description="dataset instances")
    downstreams: Names = Field(
        (NONE,),
        description="dataset instances on which the encoders are evaluated; 'none': the dataset of "
        "their pretraining",
    )
    attacks: Names = Field((NONE,), description="attack instances, or 'none'")
    methods: Names = Field(description="SSL method instances")
    defenses: Names = Field((NONE,), description="defense instances, or 'none'")
    evaluators: Names = Field(description="evaluator instances")
    seeds: Seeds | None = Field(None, description="seeds; those of [benchmark] if not given")
    exclude: tuple[Filter, ...] = Field((), description="cells to leave out")
    profiles: Names | None = Field(
        None, description="profiles that it is for; without one of them it does not count"
    )

    def size(self, seeds: tuple[int, ...]) -> int:
        """Return the number of cells before any is excluded."""
        names = (getattr(self, axis.plural) for axis in Axis)
        return math.prod(map(len, names), start=len(self.seeds or seeds))

    def cells(
        self, seeds: tuple[int, ...], origins: Mapping[str, Origin] = _NO_ORIGINS
    ) -> Iterator[CellName]:
        """Yield the cells, seed by seed, so that whole seeds are finished first.

        Args:
            seeds: Those of the file.
            origins: Origins of the encoders of a zoo, by name. Such an encoder has cells of its own
                seed alone: with the attack that made it if the matrix names that, else without.
        """
        product = itertools.product(
            self.seeds or seeds,
            self.datasets,
            self.downstreams,
            self.methods,
            self.attacks,
            self.defenses,
            self.evaluators,
        )
        excludes = any_holds(self.exclude)
        for seed, dataset, downstream, method, attack, defense, evaluator in product:
            cell = CellName(dataset, attack, method, defense, evaluator, seed, downstream)
            if (origin := origins.get(method)) is not None:
                if attack != (origin.attack if origin.attack in self.attacks else NONE):
                    continue
                cell = replace(cell, seed=origin.seed)
            if not excludes(cell):
                yield cell
