"""The context of an attack: images that the attacker has, and a note of what it requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backbench.errors import StageError
from backbench.images import ImageSet, Subset, Unlabelled
from backbench.plugin import Attack, AttackContext, count_of
from backbench.poison.poisoning import StampedImages
from backbench.seeds import derive
from backbench.stages.task import Task


@dataclass(slots=True)
class Request:
    """The most that an attack has requested so far; see :class:`ThreatModel` of the store."""

    shadow_fraction: float = 0.0
    references: int = 0


def context_of(
    task: Task,
    images: ImageSet,
    attack: Attack,
    request: Request,
    known: ImageSet | None = None,
    *,
    side: int | None = None,
) -> AttackContext:
    """Return the context of an attack.

    Args:
        task: The stage.
        images: The clean training images.
        attack: The attack, whose target class the references are of.
        request: Grows with what the attack requests.
        known: The clean images whose classes the attacker knows: those of the downstream dataset;
            ``images`` if ``None``.
        side: Side of the validation images on which the attack's encoder is evaluated, pixels;
            ``None`` if the attack makes none: see :class:`StampedImages`.
    """
    seed = derive(task.seed, "attack")
    rng = np.random.default_rng(derive(task.seed, "attack", "images"))
    order = ranking = rng.permutation(len(images))
    if known is None or known is images:
        known = images
    else:
        ranking = rng.permutation(len(known))

    def shadow(fraction: float) -> ImageSet:
        if not 0 < fraction <= 1:
            raise StageError(f"the share of shadow images lies in (0, 1], not {fraction:g}")
        request.shadow_fraction = max(request.shadow_fraction, fraction)
        chosen = np.sort(order[: max(1, count_of(fraction, len(images)))])
        return Unlabelled(Subset(images, chosen))

    def references(number: int) -> ImageSet:
        chosen = ranking
        if attack.target is not None:
            chosen = chosen[known.labels[chosen] == attack.target]
        if not 1 <= number <= len(chosen):
            raise StageError(f"{number} references are wanted, and there are {len(chosen)} images")
        request.references = max(request.references, number)
        return Subset(known, np.sort(chosen[:number]))

    return AttackContext(
        seed=seed,
        device=task.device,
        shadow=shadow,
        references=references,
        triggered=lambda base: StampedImages(base, attack, seed, side),
        progress=task.progress,
        checkpoint=task.checkpoint,
    )
