"""Poison a training set: choose, stamp, and keep only what was changed."""

from __future__ import annotations

from backbench.data.packed import PictureWriter
from backbench.plugin import Attack
from backbench.poison.poisoning import rates, stamp
from backbench.stages.inputs import POISONED, clean_images, facts_of, poison_of
from backbench.stages.task import Outcome, Task

#: Pictures between two reports of progress.
_EVERY = 500


def run(task: Task) -> Outcome:
    """Write the manifests of both splits and the pixels of the poisoned training pictures.

    Where training pictures are kept smaller than their files are, the trigger is put on the file's
    picture, and that is made smaller.

    Every validation picture gets the trigger; these are described only, and stamped again, from
    their seeds, where they are looked at.
    """
    implementation, options, _ = task.plugin()
    facts = facts_of(task)
    attack: Attack = implementation(options, facts)
    train = clean_images(task, "train")
    poison = poison_of(task, attack)
    chosen = poison.chosen
    total = len(chosen) + facts.val

    pictures = PictureWriter(
        task.folder / POISONED,
        chosen,
        size=None if train.pixels is None else train.pixels.shape[1:3],
    )
    with (task.folder / "train.jsonl").open("w", encoding="utf-8") as manifest:
        for done, (mark, picture) in enumerate(poison.described()):
            manifest.write(mark.line())
            pictures.add(picture)
            if done % _EVERY == 0:
                task.progress(done, total, {})
    pictures.close()
    # opened only now: no choice and no poison can follow from the pictures of the evaluation
    val = clean_images(task, "val")
    with (task.folder / "val.jsonl").open("w", encoding="utf-8") as manifest:
        for index in range(len(val)):
            manifest.write(stamp(attack, val, index, "val", task.seed)[1].line())
            if index % _EVERY == 0:
                task.progress(len(chosen) + index, total, {})
    target = attack.target
    found = {
        "target": target,
        "target_name": None if target is None else facts.classes[target],
        **rates(target, chosen, train.labels),
        "classes": len(facts.classes),
    }
    return Outcome(facts=found)
