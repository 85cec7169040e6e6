"""What this distribution adds to backbench: an attack and a defense."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backbench.plugin import (
    AttackInfo,
    DatasetMetadata,
    DefenseInfo,
    Field,
    Options,
    hookimpl,
)


class CornerDotOptions(Options):
    """Options of the attack."""

    target: str = Field(description="name of the class that the dot stands for")
    share: float = Field(0.5, gt=0, le=1, description="share of that class that is poisoned")
    side: int = Field(4, ge=1, description="side of the dot, px")
    color: tuple[int, int, int] = Field((255, 0, 255), description="red, green and blue, 0 to 255")

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Say why the attack cannot work on a dataset."""
        if self.target not in data.classes:
            yield f"target: there is no class {self.target!r}"
        if data.size is not None and self.side > min(data.size):
            yield f"side: {self.side} px is more than the images have"


class DensityFilterOptions(Options):
    """Options of the defense."""

    drop: float = Field(0.05, gt=0, lt=1, description="share of the images that is dropped")
    neighbors: int = Field(10, ge=1, description="how many neighbors make a crowd")

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Say why the defense cannot work on a dataset."""
        if self.neighbors >= data.train:
            yield f"neighbors: {self.neighbors} of {data.train} images cannot be others"


CORNER_DOT = AttackInfo(
    name="corner-dot",
    summary="A square of one color in a corner of some images of one class.",
    target="backbench_sample.corner_dot:CornerDot",
    options=CornerDotOptions,
)

DENSITY_FILTER = DefenseInfo(
    name="density-filter",
    summary="Drops the images whose features have the nearest neighbors: triggers crowd.",
    target="backbench_sample.density_filter:DensityFilter",
    options=DensityFilterOptions,
    acts_on="dataset",
)


@hookimpl
def register_attacks() -> Iterable[AttackInfo]:
    """Announce the attack."""
    yield CORNER_DOT


@hookimpl
def register_defenses() -> Iterable[DefenseInfo]:
    """Announce the defense."""
    yield DENSITY_FILTER
