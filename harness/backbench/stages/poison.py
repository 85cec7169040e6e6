"""Poison a training set: choose, stamp, and keep only what was changed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file

from backbench.plugin import Attack
from backbench.poisoning import choose, rates, recode, stamp
from backbench.stages.data import clean_images, facts_of, png_name
from backbench.stages.task import Outcome, Task

#: Pictures between two reports of progress.
_EVERY = 500


def run(task: Task) -> Outcome:
    """Write the manifests of both splits and the pixels of the poisoned training pictures.

    Every validation picture gets the trigger; these are described only, and stamped again, from
    their seeds, where they are looked at.
    """
    implementation, options, _ = task.plugin()
    facts = facts_of(task)
    attack: Attack = implementation(options, facts)
    train = clean_images(task, "train")
    chosen = choose(attack, train.labels, task.seed)
    total = len(chosen) + facts.val

    poisoned = []
    folder = task.folder / "images"
    with (task.folder / "train.jsonl").open("w", encoding="utf-8") as manifest:
        for done, index in enumerate(chosen.tolist()):
            picture, mark = stamp(attack, train, index, "train", task.seed)
            manifest.write(mark.line())
            picture = recode(attack, picture)
            if train.pixels is not None:
                poisoned.append(picture)
            else:
                folder.mkdir(exist_ok=True)
                Image.fromarray(picture).save(folder / png_name(index))
            if done % _EVERY == 0:
                task.progress(done, total, {})
    if poisoned:
        tensors: dict[str, NDArray[Any]] = {"indices": chosen, "pixels": np.stack(poisoned)}
        save_file(tensors, task.folder / "images.safetensors")
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
