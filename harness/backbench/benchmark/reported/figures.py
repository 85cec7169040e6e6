"""Figures that others have published: their form, and the list of them."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backbench.model import NONE


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class SameRow(_Part):
    """The row of ours that measures the same, apart from what ``differs`` names.

    The plugins of attack, method and defense are those of the figure.
    """

    protocol: str = Field(description="id of the protocol card, which fixes the images")
    evaluator: str = Field(description="name of the card's evaluator")
    attack: dict[str, Any] = Field(
        default_factory=dict, description="options that the attack must have, by name"
    )
    trigger_sha256: str | None = Field(
        None, description="the published trigger; another one is named in the footnote"
    )
    differs: str = Field("", description="what is known to differ, or not known to be the same")


class Figure(_Part):
    """Values that one source reports of one attack, method and defense."""

    attack: str = Field(description="plugin, or a name of not_built_in")
    method: str = Field(description="plugin, or a name of not_built_in")
    defense: str = Field(NONE, description="plugin, or a name of not_built_in")
    protocol: str = Field(min_length=1, description="images, network, poisons, evaluation")
    unit: Literal["percent", "fraction", "images"] = Field(description="of all its values")
    values: dict[str, float] = Field(min_length=1, description="by metric")
    row: SameRow | None = Field(None, description="the row of ours next to it, if any")

    @property
    def setting(self) -> str:
        """Return how it was made, and what is known to differ from the row of ours."""
        return "; ".join(filter(None, (self.protocol, self.row.differs if self.row else "")))

    @property
    def scaled(self) -> dict[str, float]:
        """Return the values as the leaderboard has them: fractions in [0, 1], or counts."""
        factor = 100 if self.unit == "percent" else 1
        return {metric: round(value / factor, 6) for metric, value in self.values.items()}


class Source(_Part):
    """A publication and its figures."""

    source: str = Field(min_length=1, description="what was read, with its version")
    kind: Literal["code", "readme", "paper"] = Field(description="what kind of text that is")
    link: str = Field(pattern="^https://.+", description="its address")
    not_built_in: tuple[str, ...] = Field(
        (), description="attacks, methods and defenses of its figures that backbench does not have"
    )
    figures: tuple[Figure, ...] = Field(min_length=1)

    @property
    def title(self) -> str:
        """Return the source with its address, as a footnote has it."""
        return f"{self.source}, {self.link}"


@functools.cache
def reported_sources() -> dict[str, Source]:
    """Return the sources by the name of their file, sorted."""
    files = (one for one in resources.files(__package__).iterdir() if one.name.endswith(".toml"))
    return {
        file.name.removesuffix(".toml"): Source.model_validate(
            tomllib.loads(file.read_text(encoding="utf-8"))
        )
        for file in sorted(files, key=lambda one: one.name)
    }
