"""Announce the attack. Every command imports this module: do not import torch here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backbench.plugin import AttackInfo, DatasetMetadata, Field, Options, hookimpl


class MyAttackOptions(Options):
    """Options of the attack, as a benchmark file gives them."""

    target: str = Field(description="class that the trigger stands for")
    rate: float = Field(1.0, gt=0, le=1, description="share of the target class that is poisoned")
    width: int = Field(8, ge=2, description="side of the square, px")

    def problems(self, data: DatasetMetadata) -> Iterator[str]:
        """Yield why the attack cannot work on a dataset."""
        if self.target not in data.classes:
            yield f"target: there is no class {self.target!r}"
        if data.size is not None and self.width > min(data.size):
            yield f"width: {self.width} px is more than the images have"


ATTACK = AttackInfo(
    name="my-attack",
    summary="Pastes a red and green checkerboard at a random position.",
    target="my_attack.attack:MyAttack",
    options=MyAttackOptions,
)


@hookimpl
def register_attacks() -> Iterable[AttackInfo]:
    """Announce the attack."""
    yield ATTACK
