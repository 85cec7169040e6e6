"""The matrix of a benchmark file and its profiles: which cells they select."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from backbench.model import NONE, Axis, CellName


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_many), Field(min_length=1)]
Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, strict=True)], ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
]


class Table(BaseModel):
    """Base of the tables of a benchmark file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Filter(Table):
    """Some names of some axes; an axis that is not given is not restricted."""

    datasets: Names | None = Field(None, description="dataset instances")
    attacks: Names | None = Field(None, description="attack instances, or 'none'")
    methods: Names | None = Field(None, description="SSL method instances")
    defenses: Names | None = Field(None, description="defense instances, or 'none'")
    evaluators: Names | None = Field(None, description="evaluator instances")
    seeds: Seeds | None = Field(None, description="seeds")

    def holds(self, cell: CellName) -> bool:
        """Say whether a cell's names are all among those given."""
        if self.seeds is not None and cell.seed not in self.seeds:
            return False
        return all(
            (allowed := getattr(self, axis.plural)) is None or getattr(cell, axis) in allowed
            for axis in Axis
        )


class Profile(Filter):
    """A named part of the matrix: ``--profile quick``."""

    description: str = Field("", description="what the profile is for")
    exclude: tuple[Filter, ...] = Field((), description="cells to leave out")

    def holds(self, cell: CellName) -> bool:
        """Say whether a cell belongs to the profile."""
        return Filter.holds(self, cell) and not any(rule.holds(cell) for rule in self.exclude)


class Matrix(Table):
    """A product of instances, less what is excluded."""

    datasets: Names = Field(description="dataset instances")
    attacks: Names = Field((NONE,), description="attack instances, or 'none'")
    methods: Names = Field(description="SSL method instances")
    defenses: Names = Field((NONE,), description="defense instances, or 'none'")
    evaluators: Names = Field(description="evaluator instances")
    seeds: Seeds | None = Field(None, description="seeds; those of [benchmark] if not given")
    exclude: tuple[Filter, ...] = Field((), description="cells to leave out")
    profiles: Names | None = Field(
        None, description="profiles that it is for; without one of them it does not count"
    )

    def cells(self, seeds: tuple[int, ...]) -> Iterator[CellName]:
        """Yield the cells, seed by seed, so that whole seeds are finished first."""
        product = itertools.product(
            self.seeds or seeds,
            self.datasets,
            self.methods,
            self.attacks,
            self.defenses,
            self.evaluators,
        )
        for seed, dataset, method, attack, defense, evaluator in product:
            cell = CellName(dataset, attack, method, defense, evaluator, seed)
            if not any(rule.holds(cell) for rule in self.exclude):
                yield cell
