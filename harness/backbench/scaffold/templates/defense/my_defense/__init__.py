"""Announce the defense. Every command imports this module: do not import torch here."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import DefenseInfo, Field, Options, hookimpl


class MyDefenseOptions(Options):
    """Options of the defense, as a benchmark file gives them."""

    share: float = Field(0.3, gt=0, lt=1, description="share of the weights that is removed")


DEFENSE = DefenseInfo(
    name="my-defense",
    summary="Sets the smallest weights of each convolution to zero.",
    target="my_defense.defense:MyDefense",
    options=MyDefenseOptions,
    acts_on="encoder",
)


@hookimpl
def register_defenses() -> Iterable[DefenseInfo]:
    """Announce the defense."""
    yield DEFENSE
