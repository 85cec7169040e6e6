"""Poison a training set: choose, stamp, and keep only what was changed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from backbench.data.packed import FlatWriter
from backbench.images import Pixels
from backbench.plugin import Attack
from backbench.poisoning import rates, stamp
from backbench.stages.data import POISONED, clean_images, facts_of, poison_of
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
    train, val = clean_images(task, "train"), clean_images(task, "val")
    poison = poison_of(task, attack)
    chosen = poison.chosen
    total = len(chosen) + len(val)

    # Of a uniform set they become a tensor like the others'; else one is held at a time.
    pixels: list[Pixels] = []
    flat = FlatWriter(task.folder / POISONED, chosen) if train.pixels is None else None
    with (task.folder / "train.jsonl").open("w", encoding="utf-8") as manifest:
        for done, (mark, picture) in enumerate(poison.described()):
            manifest.write(mark.line())
            if flat is None:
                pixels.append(picture)
            else:
                flat.add(picture)
            if done % _EVERY == 0:
                task.progress(done, total, {})
    if flat is None:
        tensors: dict[str, NDArray[Any]] = {"indices": chosen, "pixels": np.stack(pixels)}
        save_file(tensors, task.folder / POISONED)
    else:
        flat.close()
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
