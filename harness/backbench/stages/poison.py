"""Poison a training set: choose, stamp, and keep only what was changed."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np

from backbench.data.packed import ImageWriter
from backbench.errors import ResultError
from backbench.images import ImageSet, Pixels
from backbench.plugin import Attack
from backbench.poison.choice import aim_of
from backbench.poison.manifest import ManifestEntry
from backbench.poison.poisoning import Poison, recode, stamp
from backbench.poison.stealth import MEASURED, Likeness, averages, compared, likeness
from backbench.stages.inputs import POISONED, TRIGGERED, Inputs
from backbench.stages.scores import checked_report
from backbench.stages.task import Outcome, Task
from backbench.store.metadata import PoisonRecord

#: Images between two reports of progress.
_EVERY = 500


def run(task: Task) -> Outcome:
    """Write the manifests of both splits and the pixels of the poisoned training images.

    If training images are stored smaller than they are in their files, the trigger is put on the
    file's image before it is made smaller. Triggered validation images are described only: later
    stages stamp them again, from their seeds. Those of a learned trigger are kept: another device
    would round otherwise. The record has the stealth of poisons and triggers.
    """
    inputs = Inputs(task)
    attack = inputs.own_attack
    poison = inputs.poison(attack)
    poisons = _write_poisons(task, inputs, poison)
    # opened only now: no choice and no poison can follow from the images of the evaluation
    triggers = _write_triggers(task, inputs, attack, len(poison))
    labels, classes = inputs.train.labels, inputs.metadata.classes
    target = aim_of(attack, poison.chosen, labels)
    record = PoisonRecord.of(target, classes, poison.chosen, labels, poison.threat)
    own = checked_report(attack.report(), "the attack")
    if taken := sorted(own.keys() & MEASURED):
        raise ResultError(
            f"the attack reports {', '.join(taken)}, which the harness measures itself: give the "
            "number another name"
        )
    return Outcome(
        record, report={**own, **averages("poison", poisons), **averages("trigger", triggers)}
    )


def _write_poisons(task: Task, inputs: Inputs, poison: Poison) -> list[Likeness]:
    """Write the poisons and their manifest; compare some with the images that they replace."""
    train, total = inputs.train, len(poison) + inputs.metadata.val
    size = None if poison.composed or train.pixels is None else train.size
    images = ImageWriter(task.folder / POISONED, poison.chosen, size=size)
    found: list[Likeness] = []
    looked_at, changed = compared(len(poison)), 0
    with images, (task.folder / "train.jsonl").open("w", encoding="utf-8") as manifest:
        for done, (mark, image) in enumerate(poison.described()):
            manifest.write(mark.line())
            images.add(image)
            if done in looked_at:
                found += _likeness(train, mark, image)
            changed += mark.shows
            if done % _EVERY == 0:
                task.progress(done, total, {})
    _refuse_unchanged(changed, len(poison), "training")
    return found


def _write_triggers(task: Task, inputs: Inputs, attack: Attack, poisons: int) -> list[Likeness]:
    """Write the manifest of the triggered validation images; compare some with the clean ones.

    The images themselves are kept of a learned trigger only.
    """
    val, total = inputs.val, poisons + inputs.metadata.val
    kept = _keeper(task, len(val), val.size) if task.has("trigger") else None
    found: list[Likeness] = []
    looked_at, changed = compared(len(val)), 0
    with (
        kept or nullcontext(),
        (task.folder / "val.jsonl").open("w", encoding="utf-8") as manifest,
    ):
        for index in range(len(val)):
            image, mark = stamp(attack, val, index, "val", task.seed)
            manifest.write(mark.line())
            changed += mark.shows
            if index in looked_at:
                found.append(likeness(val.image(index), recode(attack, image)))
            if kept is not None:
                kept.add(image)
            if index % _EVERY == 0:
                task.progress(poisons + index, total, {})
    _refuse_unchanged(changed, len(val), "validation")
    return found


def _likeness(train: ImageSet, mark: ManifestEntry, poison: Pixels) -> list[Likeness]:
    """Compare a poison with the image that it replaces: none if it is added or of another size."""
    before = train.image(mark.index) if mark.before else None
    if before is None or before.shape != poison.shape:
        return []
    return [likeness(before, poison)]


def _refuse_unchanged(changed: int, count: int, split: str) -> None:
    """Stop where no stamped image differs from its original: there would be no trigger.

    Single ones may be equal, such as an image that is white where a white trigger lies.

    Raises:
        ResultError: If there are stamped images, and none has changed.
    """
    if count and not changed:
        raise ResultError(
            f"the attack changed no pixel of {count} {split} images: stamp or compose must put a "
            "trigger on them"
        )


def _keeper(task: Task, count: int, size: tuple[int, int] | None) -> ImageWriter:
    return ImageWriter(task.folder / TRIGGERED, np.arange(count), size=size)
