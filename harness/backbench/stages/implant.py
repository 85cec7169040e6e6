"""Let an attack change an encoder. It sees the encoder and its own images, never an evaluation."""

from __future__ import annotations

import numpy as np

from backbench.errors import StageError
from backbench.images import ImageSet, Subset, Unlabelled
from backbench.plugin import Attack, AttackContext, count_of
from backbench.poison.poisoning import StampedImages
from backbench.seeds import derive
from backbench.stages.inputs import Inputs
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import ImplantRecord


def run(task: Task) -> Outcome:
    """Write the encoder with its backdoor.

    Raises:
        StageError: If the attack gave no other encoder of the same architecture.
    """
    from backbench.nn import Encoder, load_encoder, save_encoder

    implementation, options, _ = task.plugin()
    inputs = Inputs(task)
    attack: Attack = implementation(options, inputs.metadata)
    clean = load_encoder(task.input("encoder")).to(task.device)
    context, asked = context_of(task, inputs.train, attack)
    implanted = attack.implant(clean, context)
    if not isinstance(implanted, Encoder):
        raise StageError(f"the attack gave a {type(implanted).__name__}, not an Encoder")
    if implanted.spec != clean.spec:
        raise StageError("the attack gave an encoder of another architecture")
    weights = implanted.state_dict()
    if all(one.cpu().equal(weights[name].cpu()) for name, one in clean.state_dict().items()):
        raise StageError("the attack gave the clean encoder: no weight has changed")
    save_encoder(task.folder, implanted, task.mark)
    return Outcome(ImplantRecord(max(asked[0], default=0.0), max(asked[1], default=0)))


def context_of(
    task: Task, images: ImageSet, attack: Attack
) -> tuple[AttackContext, tuple[list[float], list[int]]]:
    """Return the context of an attack, and the shares and numbers of images that it requests.

    Args:
        task: The stage.
        images: The clean training images.
        attack: The attack, whose target class the references are of.
    """
    seed = derive(task.seed, "attack")
    rng = np.random.default_rng(derive(task.seed, "attack", "images"))
    order = rng.permutation(len(images))
    shares: list[float] = []
    numbers: list[int] = []

    def shadow(fraction: float) -> ImageSet:
        if not 0 < fraction <= 1:
            raise StageError(f"the share of shadow images lies in (0, 1], not {fraction:g}")
        shares.append(fraction)
        chosen = np.sort(order[: max(1, count_of(fraction, len(images)))])
        return Unlabelled(Subset(images, chosen))

    def references(number: int) -> ImageSet:
        known = order
        if attack.target is not None:
            known = order[images.labels[order] == attack.target]
        if not 1 <= number <= len(known):
            raise StageError(f"{number} references are wanted, and there are {len(known)} images")
        numbers.append(number)
        return Subset(images, np.sort(known[:number]))

    context = AttackContext(
        seed=seed,
        device=task.device,
        shadow=shadow,
        references=references,
        triggered=lambda base: StampedImages(base, attack, seed),
        progress=task.progress,
        checkpoint=task.checkpoint,
    )
    return context, (shares, numbers)
